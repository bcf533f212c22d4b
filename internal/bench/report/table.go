package main

import (
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"
)

// writeMachine tells what the figures were taken on.
func writeMachine(w io.Writer, res *results, command string, now time.Time) {
	most, memory := 0, 0
	for name, units := range res.samples {
		for _, s := range units {
			if memory = max(memory, len(s)); !strings.HasPrefix(name, "Request/store=memory/") {
				most = max(most, len(s))
			}
		}
	}
	runs := "one run"
	if most > 1 {
		runs = fmt.Sprintf("medians of %d runs", most)
	}
	if memory > most && most > 0 {
		runs += fmt.Sprintf(", requests in memory of %d", memory)
	}
	fmt.Fprintf(w, "Taken on %s by `%s`: %s.\n\n", now.Format(time.DateOnly), command, runs)
	if took := res.config["took"]; took != "" {
		fmt.Fprintf(w, "- Time it took: %s\n", took)
	}
	// The spell checker of the docs leaves code alone, and the name of a processor is no word.
	fmt.Fprintf(w, "- Machine: `%s`, %d cores, %s\n", res.config["cpu"], runtime.NumCPU(), system())
	fmt.Fprintf(w, "- Go: %s, %s/%s\n", strings.TrimPrefix(runtime.Version(), "go"), runtime.GOOS, runtime.GOARCH)
	var servers []string
	for _, store := range allStores {
		if version := res.config[store]; version != "" {
			servers = append(servers, store+" "+version)
		}
	}
	fmt.Fprintf(w, "- Servers: %s\n", strings.Join(servers, ", "))
	fmt.Fprintf(w, "- Libraries: %s\n", strings.Join(libraries("go.mod"), ", "))
}

// system names the operating system, as far as it says so itself.
func system() string {
	name := runtime.GOOS
	text, _ := os.ReadFile("/etc/os-release")
	if m := regexp.MustCompile(`(?m)^PRETTY_NAME="?([^"\n]+)`).FindSubmatch(text); m != nil {
		name = string(m[1])
	}
	if text, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		name += ", kernel " + strings.TrimSpace(string(text))
	}
	return name
}

// unmeasured are what go.mod requires and no benchmark uses: for tests and pictures, and
// the library itself.
var unmeasured = []string{"stretchr/testify", "gofiber/fiber/v3", "gonum.org/v1/plot", "flamego/session"}

// libraries lists what a go.mod requires directly.
func libraries(path string) []string {
	text, _ := os.ReadFile(path)
	var libs []string
	for _, m := range regexp.MustCompile(`(?m)^\s+(\S+) (v\S+)$`).FindAllSubmatch(text, -1) {
		name := strings.TrimPrefix(string(m[1]), "github.com/")
		if !slices.Contains(unmeasured, name) {
			libs = append(libs, name+" "+string(m[2]))
		}
	}
	return libs
}

// The subjects, in the order of the columns.
var subjects = []string{"ours", "scs", "scs-sliding", "gorilla", "bare"}

var caseNames = map[string]string{
	"read": "read one key", "set": "set one key", "new": "new visitor, untouched",
	"login": "new visitor, sets six", "writers": "8 writers on one session",
}

// writeRequests writes a table for each store. A time is in microseconds.
func writeRequests(w io.Writer, res *results) {
	store := ""
	done := make(map[string]bool)
	for _, name := range res.names {
		p := parts(name)
		row := strings.TrimSuffix(name, "/via="+p["via"])
		if !strings.HasPrefix(name, "Request/") || done[row] {
			continue
		}
		done[row] = true
		if p["store"] != store {
			store = p["store"]
			fmt.Fprintf(w, "\n### %s\n\n", store)
			fmt.Fprintln(w, "| request | goroutines | ours | scs | scs, sliding | gorilla | bare | x scs | x sliding | of bare | allocations, bytes: ours | scs |")
			fmt.Fprintln(w, "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
		}
		writeRow(w, res, row, p)
	}
}

func writeRow(w io.Writer, res *results, row string, p map[string]string) {
	fmt.Fprintf(w, "| %s | %s |", caseNames[p["case"]], p["g"])
	times := make(map[string]figure)
	for _, via := range subjects {
		name := row + "/via=" + via
		f := res.get(name, "ns/op")
		times[via] = f
		cell := " -"
		if f.n > 0 {
			cell = " " + f.scaled(1e-3)
		}
		if kept := res.get(name, "kept/8"); kept.n > 0 {
			cell += fmt.Sprintf(", kept %s", short(kept.median))
		}
		fmt.Fprint(w, cell, " |")
	}
	for _, via := range []string{"scs", "scs-sliding"} {
		fmt.Fprintf(w, " %s |", or(times[via], "%s", factor(times[via].median/times["ours"].median)))
	}
	fmt.Fprintf(w, " %s |", or(times["bare"], "%s%%", count(100*times["bare"].median/times["ours"].median)))
	fmt.Fprintf(w, " %s | %s |\n", memoryOf(res, row+"/via=ours"), memoryOf(res, row+"/via=scs"))
}

// scaled is the median in another unit, with the spread if there is one.
func (f figure) scaled(by float64) string {
	if f.spread == 0 {
		return short(f.median * by)
	}
	return fmt.Sprintf("%s ±%.0f%%", short(f.median*by), f.spread*100)
}

// factor is how many times faster something is.
func factor(f float64) string {
	if f >= 1000 {
		return count(f)
	}
	return fmt.Sprintf("%.2f", f)
}

// or is a value that is made of f, or a dash if there is no f.
func or(f figure, format string, val interface{}) string {
	if f.n == 0 {
		return "-"
	}
	return fmt.Sprintf(format, val)
}

// short is a number with about three digits that count, and with commas.
func short(f float64) string {
	switch size := math.Abs(f); {
	case size >= 100 || f == float64(int(f)):
		return count(f)
	case size >= 10:
		return fmt.Sprintf("%.1f", f)
	case size >= 0.1:
		return fmt.Sprintf("%.2f", f)
	default:
		return fmt.Sprintf("%.3f", f)
	}
}

// writeOthers writes what is not about requests, with all figures there are. What their
// units are is told in the page.
func writeOthers(w io.Writer, res *results) {
	fmt.Fprint(w, "\n### Codec, files, memory and garbage collection\n\n| benchmark | figures |\n|---|---|\n")
	for _, name := range res.names {
		if parts(name)["via"] != "" {
			continue
		}
		var figures []string
		for _, unit := range slices.Sorted(maps.Keys(res.samples[name])) {
			f, scale := res.get(name, unit), 1.0
			if unit == "ns/op" { // as in all tables
				unit, scale = "us", 1e-3
			}
			figures = append(figures, f.scaled(scale)+" "+unit)
		}
		fmt.Fprintf(w, "| %s | %s |\n", name, strings.Join(figures, ", "))
	}
}
