package session_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
)

// fileApp is an app with 200 sessions of six small values in files.
func fileApp(b testing.TB) (a *app, cookies []string) {
	a = newApp(b, session.Options{
		Initer: session.FileIniter(),
		Config: session.FileConfig{RootDir: b.TempDir(), Lifetime: time.Hour},
	})
	a.Get("/new", func(s session.Session) {
		for i := range 6 {
			s.Set("key"+strconv.Itoa(i), "value "+strconv.Itoa(i))
		}
	})
	a.Get("/read", func(s session.Session) string { return s.Get("key3").(string) })
	n := 0
	a.Get("/write", func(s session.Session) string {
		n++
		s.Set("key4", strconv.Itoa(n))
		return s.Get("key3").(string)
	})
	a.Get("/get", func(s session.Session) string { return s.Get("key4").(string) })
	for range 200 {
		a.cookie = ""
		a.get("/new")
		cookies = append(cookies, a.cookie)
	}
	return a, cookies
}

// send makes one request and returns its body.
func send(a *app, w *httptest.ResponseRecorder, r *http.Request, cookie string) string {
	w.Body.Reset()
	clear(w.Header())
	r.Header["Cookie"][0] = cookie
	a.ServeHTTP(w, r)
	return w.Body.String()
}

func BenchmarkFileRequest(b *testing.B) {
	for _, path := range []string{"/read", "/write"} {
		b.Run(path[1:], func(b *testing.B) {
			a, cookies := fileApp(b)
			w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, nil)
			r.Header.Set("Cookie", cookies[0])
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if body := send(a, w, r, cookies[i%len(cookies)]); body != "value 3" {
					b.Fatal(body)
				}
			}
			b.StopTimer()
			if path == "/write" {
				last := cookies[(b.N-1)%len(cookies)]
				r = httptest.NewRequest(http.MethodGet, "/get", nil)
				r.Header.Set("Cookie", last)
				require.Equal(b, strconv.Itoa(b.N), send(a, w, r, last))
			}
		})
	}
}

// newFileBackend returns the file store without what makes sessions of bytes.
func newFileBackend(b testing.TB) (session.Backend, []string) {
	backend := session.BackendOf(newFileStore(b, b.TempDir(), time.Hour))
	var sids []string
	for i := range 200 {
		sids = append(sids, fmt.Sprintf("abcdefghijkl%04d", i))
		ok, err := backend.Insert(context.Background(), sids[i], session.Record{Data: fileData(i), TTL: time.Hour})
		require.True(b, ok)
		require.NoError(b, err)
	}
	return backend, sids
}

// fileData is 285 bytes, which six small values take.
func fileData(i int) []byte {
	return []byte(fmt.Sprintf("%08d%s", i, strings.Repeat("x", 277)))
}

func BenchmarkFileBackend(b *testing.B) {
	ctx := context.Background()
	b.Run("load", func(b *testing.B) {
		backend, sids := newFileBackend(b)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			rec, found, err := backend.Load(ctx, sids[i%len(sids)])
			if err != nil || !found || len(rec.Data) != 285 {
				b.Fatal(found, err)
			}
		}
	})
	b.Run("swap", func(b *testing.B) {
		backend, sids := newFileBackend(b)
		data := make([][]byte, len(sids)+1)
		for i := range data {
			data[i] = fileData(i)
		}
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			at, round := i%len(sids), i/len(sids)
			from, to := data[at], data[at+1]
			if round%2 == 1 {
				from, to = to, from
			}
			if ok, err := backend.Swap(ctx, sids[at], from, session.Record{Data: to, TTL: time.Hour}); err != nil || !ok {
				b.Fatal(ok, err)
			}
		}
	})
	b.Run("extend", func(b *testing.B) {
		backend, sids := newFileBackend(b)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if err := backend.Extend(ctx, sids[i%len(sids)], time.Hour); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("insert", func(b *testing.B) {
		backend, _ := newFileBackend(b)
		data := fileData(0)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			ok, err := backend.Insert(ctx, "new"+strconv.Itoa(i), session.Record{Data: data, TTL: time.Hour})
			if err != nil || !ok {
				b.Fatal(ok, err)
			}
		}
	})
}

// fileSaver saves sessions in turn. Their IDs are random, so they are spread over the folders.
type fileSaver struct {
	session.Backend
	sids []string
	data [2][]byte
	nth  int
}

func newFileSaver(b *testing.B, n int) *fileSaver {
	s := &fileSaver{Backend: session.BackendOf(newFileStore(b, b.TempDir(), time.Hour))}
	s.data = [2][]byte{fileData(0), fileData(1)}
	for range n {
		sid, err := session.NewID(16)
		require.NoError(b, err)
		ok, err := s.Insert(context.Background(), sid, session.Record{Data: s.data[0], TTL: time.Hour})
		require.True(b, ok)
		require.NoError(b, err)
		s.sids = append(s.sids, sid)
	}
	return s
}

// save saves the next session, and reports whether it was the last of a round.
func (s *fileSaver) save(b *testing.B) (last bool) {
	at, round := s.nth%len(s.sids), s.nth/len(s.sids)
	from, to := s.data[round%2], s.data[(round+1)%2]
	ok, err := s.Swap(context.Background(), s.sids[at], from, session.Record{Data: to, TTL: time.Hour})
	if err != nil || !ok {
		b.Fatal(ok, err)
	}
	s.nth++
	return at == len(s.sids)-1
}

func (s *fileSaver) round(b *testing.B) {
	for !s.save(b) {
	}
}

// BenchmarkFileSave is what a save costs by whether the session has its spare file. GC
// itself is not in the time.
func BenchmarkFileSave(b *testing.B) {
	const sessions = 2000
	b.Run("finds no spare", func(b *testing.B) {
		s := newFileSaver(b, b.N)
		b.ResetTimer()
		for range b.N {
			s.save(b)
		}
	})
	b.Run("GC between", func(b *testing.B) {
		s := newFileSaver(b, sessions)
		s.round(b)
		sweepAll(b, s)
		b.ResetTimer()
		for range b.N {
			if last := s.save(b); last {
				b.StopTimer()
				sweepAll(b, s)
				b.StartTimer()
			}
		}
	})
	b.Run("both files", func(b *testing.B) {
		s := newFileSaver(b, sessions)
		s.round(b)
		b.ResetTimer()
		for range b.N {
			s.save(b)
		}
	})
	b.Run("one hot session", func(b *testing.B) {
		s := newFileSaver(b, 1)
		s.round(b)
		b.ResetTimer()
		for range b.N {
			s.save(b)
		}
	})
}

// BenchmarkFileGC is a run of GC through 2000 live sessions with a spare file each.
func BenchmarkFileGC(b *testing.B) {
	s := newFileSaver(b, 2000)
	s.round(b)
	b.ResetTimer()
	for range b.N {
		sweepAll(b, s)
	}
}

// What a read and a write of a file may allocate.
func TestFileAllocations(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("other systems go through package os")
	}
	backend, sids := newFileBackend(t)
	ctx := context.Background()
	read := testing.AllocsPerRun(100, func() {
		_, found, err := backend.Load(ctx, sids[0])
		require.True(t, found && err == nil)
	})
	require.LessOrEqual(t, read, 6.0, "3 are the path, again for the kernel, and the data; without openat2 there are 3 more names")

	old, data := fileData(0), fileData(1)
	write := testing.AllocsPerRun(100, func() {
		ok, err := backend.Swap(ctx, sids[0], old, session.Record{Data: data, TTL: time.Hour})
		require.True(t, ok && err == nil)
		old, data = data, old
	})
	require.LessOrEqual(t, write, 14.0)
}
