package together

// Turns returns how many are taken.
func (g *Group[A]) Turns() int { return len(g.turns) }
