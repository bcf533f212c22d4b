package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// results are all samples of all benchmarks.
type results struct {
	names   []string // of the benchmarks, in the order of their first sample
	samples map[string]map[string][]float64
	config  map[string]string // the lines "key: value"
	failed  bool
}

var (
	again      = regexp.MustCompile(`(#\d+)?(-\d+)?$`) // which sample, and GOMAXPROCS, at the end of a name
	configLine = regexp.MustCompile(`^([a-z][^ :]*): +(.+)$`)
)

// parse reads the output of go test -bench: lines of a name, the number of
// iterations, and pairs of a value and its unit.
func parse(r io.Reader) (*results, error) {
	res := &results{samples: make(map[string]map[string][]float64), config: make(map[string]string)}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		fields := strings.Fields(line)
		switch m := configLine.FindStringSubmatch(line); {
		case m != nil:
			res.config[m[1]] = m[2]
		case strings.HasPrefix(line, "Benchmark") && len(fields) >= 4:
			if err := res.add(fields); err != nil {
				return nil, fmt.Errorf("%q: %w", line, err)
			}
		case strings.HasPrefix(line, "--- FAIL") || strings.HasPrefix(line, "FAIL"):
			res.failed = true
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if res.failed {
		return nil, errors.New("a benchmark has failed, see the output")
	}
	if len(res.names) == 0 {
		return nil, errors.New("there is no result in the output")
	}
	return res, nil
}

func (res *results) add(fields []string) error {
	name := strings.TrimPrefix(again.ReplaceAllString(fields[0], ""), "Benchmark")
	units := res.samples[name]
	if units == nil {
		units = make(map[string][]float64)
		res.samples[name] = units
		res.names = append(res.names, name)
	}
	if len(fields)%2 != 0 {
		return errors.New("a value has no unit")
	}
	for i := 2; i < len(fields); i += 2 {
		val, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			return err
		}
		units[fields[i+1]] = append(units[fields[i+1]], val)
	}
	return nil
}

// figure is the median of a benchmark's samples and how far they lie from it.
type figure struct {
	median, spread float64
	n              int
}

// get returns a figure; n is 0 if there is none.
func (res *results) get(name, unit string) figure {
	return summary(res.samples[name][unit])
}

// summary returns the median, and the distance of the farthest sample from it as
// a part of it.
func summary(samples []float64) figure {
	n := len(samples)
	if n == 0 {
		return figure{}
	}
	s := slices.Sorted(slices.Values(samples))
	f := figure{median: (s[(n-1)/2] + s[n/2]) / 2, n: n}
	if f.median != 0 {
		f.spread = max(f.median-s[0], s[n-1]-f.median) / f.median
	}
	return f
}

// request is the name of a benchmark of requests.
func request(store, c, g, via string) string {
	return fmt.Sprintf("Request/store=%s/case=%s/g=%s/via=%s", store, c, g, via)
}

// parts returns the values of a benchmark's name, "store" and so on.
func parts(name string) map[string]string {
	m := make(map[string]string)
	for part := range strings.SplitSeq(name, "/") {
		if key, val, ok := strings.Cut(part, "="); ok {
			m[key] = val
		}
	}
	return m
}
