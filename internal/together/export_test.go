package together

// Turns returns how many are taken.
func (g *Group[A]) Turns() int { return len(g.turns) }

// Waiting returns how many look-ups wait.
func (g *Group[A]) Waiting() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.waiting)
}
