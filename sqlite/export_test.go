package sqlite

// Dialect lets tests use the backend without the store on top of it.
var Dialect = &dialect
