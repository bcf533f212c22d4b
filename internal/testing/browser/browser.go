// Package browser tests docs/examples/login, and what the library promises of cookies, in a real
// Chromium. It is a module of its own, so that nobody else links what drives the browser.
//
// The app is a process for each store. What it has no page for is tested on apps of the test
// process. One Chromium has a profile for each visitor; where a browser ends and starts again, it
// is one of its own.
package browser
