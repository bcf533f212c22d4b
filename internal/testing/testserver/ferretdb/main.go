// Command ferretdb serves the MongoDB protocol for the tests on a machine that
// has no MongoDB, which is most of them: MongoDB is not in Debian, FerretDB is
// a pure Go module that the Go tool fetches and builds.
//
// It is a module of its own so that the more than fifty modules behind FerretDB
// never reach the go.mod of the library. Package testserver builds it once per
// machine and runs it as
//
//	ferretdb -listen 127.0.0.1:27071 -socket /tmp/state/s -dir /tmp/state
//
// The state is one SQLite file per database in -dir, which must exist. Errors go
// to standard error, nothing else is logged, and FerretDB's embedded form sends
// no telemetry. SIGINT and SIGTERM end the process.
//
// Limits against MongoDB: no TTL index, no update with a pipeline, no
// transaction, and a filtered update is not atomic between processes.
package main

import (
	"context"
	"flag"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/FerretDB/FerretDB/ferretdb"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("ferretdb: ")
	listen := flag.String("listen", "127.0.0.1:27071", "the TCP `address` to serve")
	socket := flag.String("socket", "", "the Unix `socket` to serve as well")
	dir := flag.String("dir", "", "the `folder` for the state")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, *listen, *socket, *dir); err != nil {
		log.Fatal(err)
	}
}

// serve answers on both addresses until ctx ends.
func serve(ctx context.Context, listen, socket, dir string) error {
	f, err := ferretdb.New(&ferretdb.Config{
		Listener: ferretdb.ListenerConfig{TCP: listen, Unix: socket},
		Handler:  "sqlite",
		// The trailing slash tells FerretDB that this is a folder.
		SQLiteURL: "file:" + filepath.ToSlash(dir) + "/",
		Logger:    slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if err != nil {
		return err
	}
	return f.Run(ctx)
}
