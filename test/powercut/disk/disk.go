// Package disk models which states of a file system a power cut may leave.
//
// What is kept for certain:
//   - what was written to a file, once an fsync of the file returned that began after
//     the write had returned (fsync(2): data and what is needed to read it, as the size);
//   - a name that was given or taken (by open, mkdir, link, rename, unlink), once an fsync
//     of its folder returned that began after that call had returned. An fsync of the file
//     is not enough (fsync(2): it "does not necessarily ensure that the entry in the
//     directory containing the file has also reached disk").
//
// Everything else may have reached the disk or not, in any order between names and
// files. Of a file, each page of 4 KiB is as it was after any one of its writes since
// then; the first one that is missing may have left a beginning of whole sectors of 512
// bytes. Bytes beside those that were written do not change, which SQLite relies on, too
// (sqlite.org/psow.html).
//
// File systems promise more. To ext4 and XFS a rename is one step, while here its two
// names are kept or lost apart, and an fsync of a new file keeps its name as well. Modes
// and times are not modelled, nor are disks that lie about what they have kept.
package disk

import (
	"maps"
	"slices"
	"strings"
)

const (
	pageSize   = 4096
	sectorSize = 512
)

// Node is a file or a folder. It is for one goroutine.
type Node struct {
	// Of a folder.
	names   map[string]*Node // as programs see them
	kept    map[string]*Node // for certain
	changes []*Change        // that may be lost, in the order in which they began

	// Of a file.
	size    int64
	content []byte  // kept for certain; it is replaced, never changed
	writes  []write // that may be lost
	synced  int     // how many were before writes[0]
}

// Change gives a name to a node, or takes it away.
type Change struct {
	name string
	node *Node // nil if the name is taken away
	made bool
}

// write puts data at an offset, or truncates there if data is nil.
type write struct {
	at   int64
	data []byte
}

// NewFolder returns an empty folder. The first one is the root, which is kept.
func NewFolder() *Node { return &Node{names: map[string]*Node{}, kept: map[string]*Node{}} }

// NewFile returns an empty file without a name.
func NewFile() *Node { return &Node{} }

// IsFolder reports whether it is one.
func (n *Node) IsFolder() bool { return n.names != nil }

// Find returns what programs see at a path below the folder; nil if there is nothing. The
// path is clean; "." is the folder itself.
func (n *Node) Find(path string) *Node {
	for name := range segments(path) {
		if n = n.names[name]; n == nil {
			return nil
		}
	}
	return n
}

// Seen notes that a program has found the path: whoever gave these names has done so by
// now, even if the call has not returned.
func (n *Node) Seen(path string) {
	for name := range segments(path) {
		found := n.names[name]
		for _, change := range n.changes {
			if change.name == name && change.node == found {
				change.made = true
			}
		}
		if n = found; n == nil {
			return
		}
	}
}

func segments(path string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		if path != "." {
			strings.SplitSeq(path, "/")(yield)
		}
	}
}

// Link begins to give a name in the folder to a node, in place of what has it.
func (n *Node) Link(name string, node *Node) *Change {
	n.names[name] = node
	return n.change(name, node)
}

// Unlink begins to take a name away.
func (n *Node) Unlink(name string) *Change {
	delete(n.names, name)
	return n.change(name, nil)
}

func (n *Node) change(name string, node *Node) *Change {
	change := &Change{name: name, node: node}
	n.changes = append(n.changes, change)
	return change
}

// Made notes that the call that began the change has returned.
func (c *Change) Made() { c.made = true }

func (c *Change) apply(to map[string]*Node) {
	if c.node == nil {
		delete(to, c.name)
	} else {
		to[c.name] = c.node
	}
}

// Size of a file, as programs see it.
func (n *Node) Size() int64 { return n.size }

// Write notes a write to a file that has returned. It keeps data.
func (n *Node) Write(at int64, data []byte) {
	if len(data) > 0 {
		n.size = max(n.size, at+int64(len(data)))
		n.writes = append(n.writes, write{at, data})
	}
}

// Truncate notes that a file has got another size.
func (n *Node) Truncate(size int64) {
	n.size = size
	n.writes = append(n.writes, write{at: size})
}

// Sync is an fsync that has begun.
type Sync struct {
	node    *Node
	changes map[*Change]bool
	writes  int
}

// BeginSync begins an fsync of what has been done so far.
func (n *Node) BeginSync() *Sync {
	s := &Sync{node: n, changes: map[*Change]bool{}, writes: n.synced + len(n.writes)}
	for _, change := range n.changes {
		s.changes[change] = change.made
	}
	return s
}

// End notes that it has returned without an error.
func (s *Sync) End() {
	n := s.node
	n.changes = slices.DeleteFunc(n.changes, func(change *Change) bool {
		if s.changes[change] {
			change.apply(n.kept)
		}
		return s.changes[change]
	})
	if done := s.writes - n.synced; done > 0 { // else another one has kept them
		n.content = written(n.content, n.writes[:done])
		n.writes, n.synced = n.writes[done:], s.writes
	}
}

// written returns content after the writes.
func written(content []byte, writes []write) []byte {
	size := int64(len(content))
	for _, w := range writes {
		size = max(size, w.at+int64(len(w.data)))
	}
	after := make([]byte, len(content), size)
	copy(after, content)
	for _, w := range writes {
		after = w.apply(after)
	}
	return after
}

func (w write) apply(to []byte) []byte {
	end := w.at + int64(len(w.data))
	if grown := end - int64(len(to)); grown > 0 {
		to = append(to, make([]byte, grown)...)
	}
	if w.data == nil {
		return to[:end:end] // what is behind it must not come back when the file grows again
	}
	copy(to[w.at:], w.data)
	return to
}

// chosen returns the names that are kept for certain, after the changes that keep picks.
func (n *Node) chosen(keep func() bool) map[string]*Node {
	names := maps.Clone(n.kept)
	for _, change := range n.changes {
		if keep() {
			change.apply(names)
		}
	}
	return names
}
