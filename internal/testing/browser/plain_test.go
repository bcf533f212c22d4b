package browser

import (
	"fmt"
	"net/http"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
)

// Handlers of plain apps.

func setKey(c flamego.Context, s session.Session) { s.Set("key "+c.Param("key"), true) }

func countKeys(w http.ResponseWriter, s session.Session) string {
	n := 0
	for key := range 20 {
		if s.Get(fmt.Sprint("key ", key)) != nil {
			n++
		}
	}
	return html(w, fmt.Sprint(n, " keys"))
}

// orNone returns a value as text.
func orNone(val any) string {
	if val == nil {
		return "none"
	}
	return fmt.Sprint(val)
}
