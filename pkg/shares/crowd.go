package shares

// Crowd is a channel that is closed while somebody waits. It is another one each time
// that nobody does. It locks nothing.
type Crowd struct{ closed chan struct{} }

// NewCrowd returns one for which nobody waits.
func NewCrowd() Crowd { return Crowd{make(chan struct{})} }

// C returns the channel as it is now.
func (c *Crowd) C() <-chan struct{} { return c.closed }

// Set says whether somebody waits.
func (c *Crowd) Set(waits bool) {
	select {
	case <-c.closed:
		if !waits {
			c.closed = make(chan struct{})
		}
	default:
		if waits {
			close(c.closed)
		}
	}
}
