package disk

import (
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
)

// State is the files that there are after a power cut, by path. A content is not changed
// by anybody: the same slice is the same content.
type State map[string][]byte

// Worst is the state in which all that may be lost below a folder is lost.
func (n *Node) Worst() State {
	state := State{}
	state.add(n, "", func(n *Node) map[string]*Node { return n.kept }, func(n *Node) []byte { return n.content })
	return state
}

// Whole is the state in which nothing is lost.
func (n *Node) Whole() State {
	return n.state(func() bool { return true }, func(n *Node) []byte { return written(n.content, n.writes) })
}

// Torn is one in which a random choice is lost of what may be lost.
func (n *Node) Torn(random *rand.Rand) State {
	// Some states lose little, others nearly all.
	chance := []float64{.1, .5, .9}[random.IntN(3)]
	keep := func() bool { return random.Float64() < chance }
	return n.state(keep, func(n *Node) []byte {
		switch random.IntN(3) {
		case 0:
			return n.content
		case 1:
			return written(n.content, n.writes)
		}
		return n.torn(random, chance)
	})
}

func (n *Node) state(keep func() bool, content func(*Node) []byte) State {
	state, contents := State{}, map[*Node][]byte{} // a file with two names has one content
	state.add(n, "", func(n *Node) map[string]*Node { return n.chosen(keep) }, func(n *Node) []byte {
		if _, known := contents[n]; !known {
			contents[n] = n.content
			if len(n.writes) > 0 {
				contents[n] = content(n)
			}
		}
		return contents[n]
	})
	return state
}

func (s State) add(folder *Node, below string, names func(*Node) map[string]*Node, content func(*Node) []byte) {
	for name, node := range names(folder) {
		if node.IsFolder() {
			s.add(node, path.Join(below, name), names, content)
		} else {
			s[path.Join(below, name)] = content(node)
		}
	}
}

// torn keeps, of a random beginning of the writes, each page up to a random one.
func (n *Node) torn(random *rand.Rand, chance float64) []byte {
	lost := map[int64]bool{} // pages that get no further writes
	var kept []write
	for _, w := range n.writes[:random.IntN(len(n.writes)+1)] {
		if w.data == nil {
			kept = append(kept, w)
			continue
		}
		for len(w.data) > 0 {
			page := w.at / pageSize
			length := min(int64(len(w.data)), (page+1)*pageSize-w.at)
			piece := write{w.at, w.data[:length]}
			w = write{w.at + length, w.data[length:]}
			switch {
			case lost[page]:
			case random.Float64() < chance:
				kept = append(kept, piece)
			default:
				lost[page] = true
				if piece.data = piece.beginning(random); len(piece.data) > 0 {
					kept = append(kept, piece)
				}
			}
		}
	}
	return written(n.content, kept)
}

// beginning is what a write within a page leaves that is cut off at a sector.
func (w write) beginning(random *rand.Rand) []byte {
	first := w.at / sectorSize
	last := (w.at + int64(len(w.data)) - 1) / sectorSize
	end := max((first+random.Int64N(last-first+1))*sectorSize, w.at)
	return w.data[:end-w.at]
}

// Write makes the files below a folder.
func (s State) Write(folder string) error {
	for name, content := range s {
		to := filepath.Join(folder, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o750); err != nil {
			return err
		}
		if err := os.WriteFile(to, content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// Load makes the files and folders below a folder as they are on this machine. Their names
// are kept, and so is what is in them, but for the files that lose picks by their paths.
func (n *Node) Load(folder string, lose func(path string) bool) error {
	return n.load(folder, "", lose)
}

func (n *Node) load(folder, below string, lose func(path string) bool) error {
	entries, err := os.ReadDir(filepath.Join(folder, filepath.FromSlash(below)))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		at, node := path.Join(below, entry.Name()), NewFile()
		if entry.IsDir() {
			node = NewFolder()
			err = node.load(folder, at, lose)
		} else {
			var content []byte
			content, err = os.ReadFile(filepath.Join(folder, filepath.FromSlash(at)))
			node.Write(0, content)
			if !lose(at) {
				node.BeginSync().End()
			}
		}
		if err != nil {
			return err
		}
		n.Link(entry.Name(), node).Made()
	}
	n.BeginSync().End()
	return nil
}
