package sqlstore

import (
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
	"unicode/utf8"
)

// name is the name of a table, as the database knows it, without quotes.
type name struct {
	schema string // empty for the one that the connection is in
	table  string
}

// parseName takes apart what a Config calls a table. A dot separates the schema
// from the table; a part in the quotes of the dialect may hold dots itself, any
// other character stands for itself.
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

// cutPart returns the first part of a name, and what is behind the dot after it.
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

// checkPart refuses what the server would refuse later or, as PostgreSQL does
// with long names, silently turn into another name.
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

// index returns the name of the index on expired_at. Where indexes of all tables
// share one space, names that had to be shortened must still differ.
func (d *Dialect) index(table string) string {
	const suffix = "_expired_at_idx"
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

// compile makes the SQL of a template: expressions of the dialect first, then
// the placeholders of the driver, and names last, as they may hold anything.
func (d *Dialect) compile(template string, n name) string {
	text := strings.NewReplacer(
		"{live}", "{expired_at} > {now}", "{dead}", "{expired_at} <= {now}",
		"{expiry}", d.Expiry, "{left}", d.Left,
		"{keys}", strings.Repeat("?, ", batch-1)+"?", "{few}", strings.Repeat("?, ", few-1)+"?",
	).Replace(template)
	text = strings.ReplaceAll(text, "{now}", d.Now)
	if d.Numbered {
		parts := strings.Split(text, "?")
		text = parts[0]
		for i, part := range parts[1:] {
			text += fmt.Sprintf("$%d", i+1) + part
		}
	}

	schema := ""
	if n.schema != "" {
		schema = d.quote(n.schema) + "."
	}
	return strings.NewReplacer(
		"{table}", schema+d.quote(n.table), "{bare}", d.quote(n.table),
		"{schema.}", schema, "{index}", d.quote(d.index(n.table)),
		"{key}", d.quote("key"), "{data}", d.quote("data"), "{expired_at}", d.quote("expired_at"),
	).Replace(text)
}
