package sqlstore

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// upsert is the Insert of a dialect that has none of its own: one statement that
// replaces a dead row, and changes nothing if there is a live row. (A plain INSERT would
// write the session ID of each duplicate to the log of a PostgreSQL server.)
const upsert = `INSERT INTO {table} AS t ({key}, {data}, {expired_at}) VALUES (?, ?, {expiry})
ON CONFLICT ({key}) DO UPDATE SET {data} = excluded.{data}, {expired_at} = excluded.{expired_at}
WHERE t.{expired_at} <= {now}`

// compile makes the SQL of a template. It puts in the expressions of the dialect first,
// then the placeholders of the driver. Names come last, because a name may hold a "?" or
// look like a part of a template.
func (d *Dialect) compile(template string, n name) string {
	expires := cmp.Or(d.Expires, "{expired_at}")
	text := strings.NewReplacer(
		"{live}", expires+" > {now}", "{dead}", expires+" <= {now}",
		"{expires}", expires, "{until}", cmp.Or(d.Until, d.Expiry), "{expiry}", d.Expiry, "{left}", d.Left,
		"{load keys}", parameters(loadBatch), "{sweep keys}", parameters(sweepBatch),
		"{sweep limit}", strconv.Itoa(sweepBatch),
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

// parameters is a list of n parameters.
func parameters(n int) string { return strings.Repeat("?, ", n-1) + "?" }
