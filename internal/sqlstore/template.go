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
const upsert = `INSERT INTO {table} AS t ({key}, {data}, {expired_at}{, owner}) VALUES (?, ?, {expiry}{, owner value})
ON CONFLICT ({key}) DO UPDATE SET {data} = excluded.{data}, {expired_at} = excluded.{expired_at}{, owner = excluded}
WHERE t.{expired_at} <= {now}`

// withOwner adds the column of the owner to the template of a write, or leaves it out.
func withOwner(template string, owners bool) string {
	column, value, set, excluded := "", "", "", ""
	if owners {
		column, value = ", {owner}", ", {owner value}"
		set, excluded = ", {owner} = {owner value}", ", {owner} = excluded.{owner}"
	}
	return strings.NewReplacer("{, owner}", column, "{, owner value}", value,
		"{, owner = value}", set, "{, owner = excluded}", excluded).Replace(template)
}

// compile makes the SQL of a template, in parts with a parameter between any two. It puts
// in the expressions of the dialect first. Names come last, because a name may hold a "?"
// or look like a part of a template.
func (d *Dialect) compile(template string, n name) (parts []string) {
	expires := cmp.Or(d.Expires, "{expired_at}")
	text := strings.NewReplacer(
		"{live}", expires+" > {now}", "{dead}", expires+" <= {now}",
		"{expires}", expires, "{until}", cmp.Or(d.Until, d.Expiry), "{expiry}", d.Expiry, "{left}", d.Left,
		"{owner value}", cmp.Or(d.OwnerValue, "?"), "{owner type}", d.OwnerType,
		"{load keys}", parameters(loadBatch), "{sweep keys}", parameters(sweepBatch),
		"{sweep limit}", strconv.Itoa(sweepBatch),
	).Replace(template)
	text = strings.ReplaceAll(text, "{now}", d.Now)
	schema := ""
	if n.schema != "" {
		schema = d.quote(n.schema) + "."
	}
	names := strings.NewReplacer(
		"{table}", schema+d.quote(n.table), "{bare}", d.quote(n.table),
		"{schema.}", schema, "{index}", d.quote(d.index(n.table, "expired_at")), "{owner index}", d.quote(d.index(n.table, "owner")),
		"{key}", d.quote("key"), "{data}", d.quote("data"), "{expired_at}", d.quote("expired_at"),
		"{owner}", d.quote("owner"),
	)
	parts = strings.Split(text, "?")
	for i := range parts {
		parts[i] = names.Replace(parts[i])
	}
	return parts
}

// join puts the placeholders of the driver between the parts of a statement.
func (d *Dialect) join(parts []string) string {
	if !d.Numbered {
		return strings.Join(parts, "?")
	}
	text := parts[0]
	for i, part := range parts[1:] {
		text += fmt.Sprintf("$%d", i+1) + part
	}
	return text
}

// inline puts literals between the parts of a statement.
func (d *Dialect) inline(parts []string, args []interface{}) string {
	var text strings.Builder
	for i, part := range parts {
		if i > 0 {
			text.WriteString(d.Literal(args[i-1]))
		}
		text.WriteString(part)
	}
	return text.String()
}

// parameters is a list of n parameters.
func parameters(n int) string { return strings.Repeat("?, ", n-1) + "?" }
