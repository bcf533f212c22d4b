package session_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
)

// devices is an app whose users are logged in at several devices, and three of Alice's.
func devices() (app *flamego.Flame, sessions *session.Manager, phone, tablet, laptop *browser) {
	sessions, err := session.New(session.Options{OwnerKey: "user"})
	if err != nil {
		panic(err)
	}
	app = flamego.New()
	app.Use(sessions.Handler())
	app.Get("/login/{device}", func(c flamego.Context, w http.ResponseWriter, r *http.Request, s session.Session) error {
		s.Set("user", "Alice")
		s.Set("device", c.Param("device"))
		return s.RegenerateID(w, r)
	})
	app.Get("/", func(s session.Session) string {
		if s.Get("user") == nil {
			return "not logged in"
		}
		return fmt.Sprint("logged in as ", s.Get("user"))
	})
	phone, tablet, laptop = newBrowser(app), newBrowser(app), newBrowser(app)
	phone.get("/login/phone")
	tablet.get("/login/tablet")
	laptop.get("/login/laptop")
	return app, sessions, phone, tablet, laptop
}

// The devices of a user.
func ExampleOwned() {
	_, sessions, _, _, _ := devices()
	defer sessions.Close()

	infos, err := session.Owned(context.Background(), sessions.Store(), "Alice")
	if err != nil {
		fmt.Println(err)
		return
	}
	var names []string
	for _, info := range infos {
		names = append(names, fmt.Sprint(info.Data["device"]))
	}
	slices.Sort(names)
	fmt.Println(names)
	// Output:
	// [laptop phone tablet]
}

// A user ends the session of a device that is lost.
func ExampleEnd() {
	_, sessions, phone, _, laptop := devices()
	defer sessions.Close()

	ctx, store := context.Background(), sessions.Store()
	infos, err := session.Owned(ctx, store, "Alice")
	if err != nil {
		fmt.Println(err)
		return
	}
	i := slices.IndexFunc(infos, func(info session.Info) bool { return info.Data["device"] == "phone" })
	fmt.Println(session.End(ctx, store, "Bob", infos[i].Handle)) // it is not his
	fmt.Println(session.End(ctx, store, "Alice", infos[i].Handle))
	fmt.Println("phone:", phone.get("/").Body)
	fmt.Println("laptop:", laptop.get("/").Body)
	// Output:
	// false <nil>
	// true <nil>
	// phone: not logged in
	// laptop: logged in as Alice
}

// A user logs out all other devices.
func ExampleEndOwned() {
	app, sessions, phone, tablet, laptop := devices()
	defer sessions.Close()
	app.Get("/end-others", func(r *http.Request, s session.Session, store session.Store) string {
		ended, err := session.EndOwned(r.Context(), store, s.Get("user"), s)
		return fmt.Sprint("ended: ", ended, ", error: ", err)
	})

	fmt.Println(laptop.get("/end-others").Body)
	fmt.Println("phone:", phone.get("/").Body)
	fmt.Println("tablet:", tablet.get("/").Body)
	fmt.Println("laptop:", laptop.get("/").Body)
	// Output:
	// ended: 2, error: <nil>
	// phone: not logged in
	// tablet: not logged in
	// laptop: logged in as Alice
}

func ExampleHandle() {
	s := session.NewBaseSession("0123456789abcdef", nil, nil)
	fmt.Println(session.Handle(s))
	// Output:
	// t6pvcepxwj5hqhy7
}
