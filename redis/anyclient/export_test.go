package anyclient

// Open makes the backend of a Config, for tests of its operations.
var Open = open
