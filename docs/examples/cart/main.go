// Command cart counts clicks and fills a cart, and loses nothing when clicks of one visitor
// overlap.
//
//	curl -b jar -c jar -d "" localhost:2830/click
//	curl -b jar -c jar -d "item=book" localhost:2830/cart
//	curl -b jar localhost:2830/
package main

import (
	"html/template"
	"log"
	"maps"
	"net/http"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
	"github.com/flamego/session/docs/examples/internal/app"
)

var page = template.Must(template.New("page").Parse(`<!DOCTYPE html><html lang="en"><title>Cart</title>
<p>Clicks: {{.Clicks}}
<form method="post" action="/click"><button>Click</button></form>
<ul>
{{- range $item, $n := .Cart}}
<li>{{$n}} x {{$item}}
{{- end}}
</ul>
<form method="post" action="/cart">
<button name="item" value="book">Add a book</button>
<button name="item" value="pen">Add a pen</button>
</form>
`))

func main() {
	sessions, err := session.New()
	if err != nil {
		log.Fatal(err)
	}
	f := flamego.Classic()
	f.Use(sessions.Handler())

	f.Post("/click", func(c flamego.Context, s session.Session) {
		session.Update(s, "clicks", func(n int) int { return n + 1 })
		c.Redirect("/", http.StatusSeeOther)
	})
	f.Post("/cart", func(c flamego.Context, r *http.Request, s session.Session) {
		item := r.PostFormValue("item")
		session.Update(s, "cart", func(cart map[string]int) map[string]int {
			cart = maps.Clone(cart) // the one that is stored is not to be written to
			if cart == nil {
				cart = make(map[string]int)
			}
			cart[item]++
			return cart
		})
		c.Redirect("/", http.StatusSeeOther)
	})
	f.Get("/", func(w http.ResponseWriter, s session.Session) {
		clicks, _ := session.Value[int](s, "clicks")
		app.Show(w, page, map[string]any{"Clicks": clicks, "Cart": s.Get("cart")})
	})
	app.Serve(f, sessions)
}
