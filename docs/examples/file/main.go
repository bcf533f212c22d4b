// Command file keeps each session in a file of the folder "sessions".
package main

import (
	"github.com/flamego/session"
	"github.com/flamego/session/docs/examples/internal/app"
)

func main() {
	app.Run(session.New(session.Options{
		Initer: session.FileIniter(),
		Config: session.FileConfig{
			RootDir: "sessions",
		},
	}))
}
