package together

// Slots returns how many slots are taken.
func (g *Group[A]) Slots() int { return len(g.slots) }

// Waiting returns how many look-ups wait.
func (g *Group[A]) Waiting() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.waiting)
}
