package mysql

// Dialect lets tests use the backend without the store on top of it.
var Dialect = &dialect

// Literal writes a value into a statement.
var Literal = literal
