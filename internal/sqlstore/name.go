package sqlstore

import (
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
	"unicode/utf8"
)

// name is the name of a table, without quotes.
type name struct {
	schema string // empty for the current schema of the connection
	table  string
}

// parseName parses the Table of a Config. A dot separates the schema from the table. A
// part in the quotes of the dialect may hold dots. All other characters belong to the
// name.
func (d *Dialect) parseName(s string) (name, error) {
	var parts []string
	for rest, more := s, true; more; {
		var part string
		part, rest, more = d.cutPart(rest)
		if err := d.checkPart(part); err != nil {
			return name{}, err
		}
		parts = append(parts, part)
	}
	switch len(parts) {
	case 1:
		return name{table: parts[0]}, nil
	case 2:
		return name{schema: parts[0], table: parts[1]}, nil
	default:
		return name{}, fmt.Errorf("it has %d parts, more than schema and table (quote a part that holds a dot)", len(parts))
	}
}

// cutPart returns the first part of a name, and the rest after the dot. It reports
// whether there is a dot.
func (d *Dialect) cutPart(s string) (part, rest string, more bool) {
	if s != "" && s[0] == d.Quote {
		for i := 1; i < len(s); i++ {
			switch {
			case s[i] != d.Quote:
			case i+1 == len(s):
				return d.unquote(s[1:i]), "", false
			case s[i+1] == '.':
				return d.unquote(s[1:i]), s[i+2:], true
			case s[i+1] == d.Quote:
				i++
			}
		}
	}
	return strings.Cut(s, ".")
}

// checkPart refuses what the server would refuse later, and names that are too long,
// which PostgreSQL would silently turn into other names.
func (d *Dialect) checkPart(part string) error {
	switch {
	case part == "":
		return errors.New("a part of it is empty")
	case strings.ContainsRune(part, 0):
		return errors.New("it holds a zero byte")
	case !utf8.ValidString(part):
		return errors.New("it is not valid UTF-8")
	case d.MaxName > 0 && d.NameLength(part) > d.MaxName:
		return fmt.Errorf("a part of it is longer than %d", d.MaxName)
	}
	return nil
}

func (d *Dialect) quote(part string) string {
	q := string(d.Quote)
	return q + strings.ReplaceAll(part, q, q+q) + q
}

func (d *Dialect) unquote(part string) string {
	q := string(d.Quote)
	return strings.ReplaceAll(part, q+q, q)
}

// index returns the name of the index on a column. If the name of the table has to be
// shortened for it, a hash is added: on some databases the indexes of different tables
// must have different names.
func (d *Dialect) index(table, column string) string {
	suffix := "_" + column + "_idx"
	long := table + suffix
	if d.MaxName == 0 || d.NameLength(long) <= d.MaxName {
		return long
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(table))
	tail := fmt.Sprintf("_%08x%s", h.Sum32(), suffix)
	for d.NameLength(table+tail) > d.MaxName {
		_, size := utf8.DecodeLastRuneInString(table)
		table = table[:len(table)-size]
	}
	return table + tail
}
