package gobmap

// Definitions returns for how many definitions there are decoders.
func Definitions() int {
	preparedFor.mu.Lock()
	defer preparedFor.mu.Unlock()
	return len(preparedFor.pool)
}
