package shares

// Book is what each holder has of something scarce. It decides whose turn it is, and
// locks nothing.
type Book struct {
	most  int64             // of one holder, by several requests
	has   map[string]int64  // no zeros
	last  map[string]uint64 // number of the holder's last turn
	turns uint64
}

// NewBook returns one for a total. A holder that has something gets no more than three
// quarters of it.
func NewBook(total int64) Book {
	return Book{most: total - total/4, has: map[string]int64{}, last: map[string]uint64{}}
}

// Lend notes that a holder gets n.
func (b *Book) Lend(holder string, n int64) {
	b.has[holder] += n
	b.turns++
	b.last[holder] = b.turns
	if len(b.last) > manyHolders+2*len(b.has) {
		for name := range b.last {
			if b.has[name] == 0 {
				delete(b.last, name)
			}
		}
	}
}

// manyHolders are remembered after they have returned everything.
const manyHolders = 1000

// Return notes that a holder returns n.
func (b *Book) Return(holder string, n int64) {
	if b.has[holder] -= n; b.has[holder] == 0 {
		delete(b.has, holder)
	}
}

// May reports whether a holder may have n more.
func (b *Book) May(holder string, n int64) bool {
	has := b.has[holder]
	return has == 0 || has+n <= b.most
}

// Has reports whether a holder has something.
func (b *Book) Has(holder string) bool { return b.has[holder] > 0 }

// Holders returns how many have something.
func (b *Book) Holders() int { return len(b.has) }

// Turn returns the index of the one whose turn it is, -1 for none: of the holder that
// has the least, among equals of the one whose last turn is longest ago, the first that
// came. Nobody passes another one of the same holder. of says who waits for how much,
// and whether it may have it now.
func Turn[W any](b *Book, waiting []W, of func(W) (holder string, n int64, may bool)) int {
	first, who := -1, ""
	seen := make(map[string]bool, len(b.has)+1)
	for i, w := range waiting {
		holder, n, may := of(w)
		if !may || seen[holder] {
			continue
		}
		seen[holder] = true
		if b.May(holder, n) && (first < 0 || b.before(holder, who)) {
			first, who = i, holder
		}
	}
	return first
}

func (b *Book) before(one, other string) bool {
	if b.has[one] != b.has[other] {
		return b.has[one] < b.has[other]
	}
	return b.last[one] < b.last[other]
}
