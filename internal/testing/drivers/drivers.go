// Package drivers runs the tests of the SQL stores by pools of drivers that the library
// itself does not use. It is a module of its own, so that nobody else links these drivers.
package drivers
