package sqlite_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
	"github.com/flamego/session/sqlite"
)

func ExampleIniter() {
	sessions, err := session.New(session.Options{
		Initer: sqlite.Initer(),
		Config: sqlite.Config{DSN: ":memory:", InitTable: true},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = sessions.Close() }()

	f := flamego.New()
	f.Use(sessions.Handler())
	f.Get("/", func(s session.Session) string {
		visits, _ := session.Value[int](s, "visits")
		s.Set("visits", visits+1)
		return fmt.Sprintf("visit number %d", visits+1)
	})

	request := httptest.NewRequest(http.MethodGet, "/", nil)
	for range 2 {
		response := httptest.NewRecorder()
		f.ServeHTTP(response, request)
		fmt.Println(response.Body)
		for _, cookie := range response.Result().Cookies() {
			request.AddCookie(cookie)
		}
	}
	// Output:
	// visit number 1
	// visit number 2
}
