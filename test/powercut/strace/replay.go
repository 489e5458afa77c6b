package strace

import (
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/coulomb/artifact-store/test/powercut/disk"
)

// Replay does to the model of a folder what a program did to the folder. Calls that
// concern nothing below the folder are passed over; one that does and is not modelled is
// an error, so that nothing is forgotten.
type Replay struct {
	// Root is the folder.
	Root *disk.Node
	// Mapped are the paths of files that were mapped for writing: what was written to
	// them in that way is not known.
	Mapped map[string]bool

	folder string
	leave  func(path string) bool
	open   map[int64]*file
	ends   map[*Call]func()
}

// file is an open file or folder.
type file struct {
	node   *disk.Node
	at     int64 // where the next write goes
	append bool
	reads  bool // a read, which is not recorded, may have moved it
}

// New replays calls on a folder, whose path is absolute and has no links, and of which
// root is what is in it now. An fsync of a path below it, or of ".", that leave picks is
// left out; leave may be nil.
func New(root *disk.Node, folder string, leave func(path string) bool) *Replay {
	if leave == nil {
		leave = func(string) bool { return false }
	}
	return &Replay{Root: root, Mapped: map[string]bool{}, folder: folder, leave: leave,
		open: map[int64]*file{}, ends: map[*Call]func(){}}
}

// Restart says that the program has ended, so that it has nothing open, and another begins.
func (r *Replay) Restart() {
	clear(r.open)
	clear(r.ends)
}

// Step replays one event.
func (r *Replay) Step(e Event) error {
	var err error
	if e.End {
		if end := r.ends[e.Call]; end != nil && e.Returned {
			end()
		}
		delete(r.ends, e.Call)
		if e.Path != "" && r.below(e.Path) != "" && r.open[e.Result] == nil {
			err = fmt.Errorf("it opened %s, which the replay has not", e.Path)
		}
	} else {
		err = r.begin(e.Call)
	}
	if err != nil {
		err = fmt.Errorf("replaying %s %.300q: %w", e.Name, e.Args, err)
	}
	return err
}

// place is a path, at which there may be nothing.
type place struct {
	folder *disk.Node
	path   string // below folder
}

func (p place) node() *disk.Node { return p.folder.Find(p.path) }

// parent returns the folder that has, or would have, the last name of the path.
func (p place) parent() (*disk.Node, string, error) {
	parent := p.folder.Find(path.Dir(p.path))
	if parent == nil || p.path == "." {
		return nil, "", fmt.Errorf("there is no folder for %s", p.path)
	}
	return parent, path.Base(p.path), nil
}

// below returns the path below the folder, "" for one that is elsewhere.
func (r *Replay) below(absolute string) string {
	absolute = path.Clean(absolute)
	if absolute == r.folder {
		return "."
	}
	rest, is := strings.CutPrefix(absolute, r.folder+"/")
	if !is {
		return ""
	}
	return rest
}

// place finds what two arguments of a call name: a folder's descriptor and a path. is is
// false if it is elsewhere.
func (r *Replay) place(folder, name string) (p place, is bool) {
	if path.IsAbs(name) {
		below := r.below(name)
		return place{r.Root, below}, below != ""
	}
	if of := r.file(folder); of != nil {
		return place{of.node, path.Clean(name)}, true
	}
	return place{}, false
}

// file of an argument as 7</path>.
func (r *Replay) file(arg string) *file {
	number, _, is := strings.Cut(arg, "<")
	fd, err := strconv.ParseInt(number, 10, 64)
	if err != nil || !is { // AT_FDCWD</path>, a size
		return nil
	}
	return r.open[fd]
}

// pathOf returns what strace took for the path of a descriptor.
func pathOf(arg string) string {
	_, rest, _ := strings.Cut(arg, "<")
	name, _, _ := strings.Cut(rest, ">") // after it may be: (deleted)
	return name
}

// concerns reports whether an argument is a descriptor of something in the folder.
func (r *Replay) concerns(arg string) bool {
	return r.file(arg) != nil || strings.Contains(arg, "<") && r.below(pathOf(arg)) != ""
}

const here = "AT_FDCWD"

func (r *Replay) begin(c *Call) error {
	a := c.Args
	switch c.Name {
	case "open", "creat":
		return r.beginOpen(c, here, a[0], strings.Join(a[1:], "|"))
	case "openat", "openat2":
		return r.beginOpen(c, a[0], a[1], a[2])
	case "mkdir":
		return r.beginMkdir(c, here, a[0])
	case "mkdirat":
		return r.beginMkdir(c, a[0], a[1])
	case "rename":
		return r.beginMove(c, here, a[0], here, a[1], true)
	case "renameat":
		return r.beginMove(c, a[0], a[1], a[2], a[3], true)
	case "link":
		return r.beginMove(c, here, a[0], here, a[1], false)
	case "linkat":
		return r.beginMove(c, a[0], a[1], a[2], a[3], false)
	case "unlink", "rmdir":
		return r.beginUnlink(c, here, a[0])
	case "unlinkat":
		return r.beginUnlink(c, a[0], a[1])
	}
	if c.Name == "mmap" && !(strings.Contains(a[2], "PROT_WRITE") && strings.Contains(a[3], "MAP_SHARED")) {
		return nil
	}
	if strings.Contains(c.Name, "write") { // the others are data and numbers
		a = a[:1]
	}
	for _, arg := range a {
		if r.concerns(arg) || path.IsAbs(arg) && r.below(arg) != "" {
			return r.beginOpened(c)
		}
	}
	return nil
}

// beginOpened begins a call that names no path but a descriptor of something in the folder.
func (r *Replay) beginOpened(c *Call) error {
	f := r.file(c.Args[0])
	if c.Name == "mmap" {
		f = r.file(c.Args[4])
	}
	if f == nil {
		return fmt.Errorf("it is not modelled, or the replay has not opened %s", c.Args[0])
	}
	switch c.Name {
	case "close": // once it has begun, another open may get the number
		number, _, _ := strings.Cut(c.Args[0], "<")
		fd, err := strconv.ParseInt(number, 10, 64)
		delete(r.open, fd)
		return err
	case "lseek":
		r.ends[c] = func() {
			if c.Error == "" {
				f.at = c.Result
			}
		}
		return nil
	case "write", "writev":
		if f.reads && !f.append {
			return errors.New("where it writes is not recorded")
		}
		r.ends[c] = func() {
			if f.append {
				f.at = f.node.Size()
			}
			f.at += f.write(f.at, c)
		}
		return nil
	case "pwrite64", "pwritev":
		at, err := strconv.ParseInt(c.Args[len(c.Args)-1], 10, 64)
		r.ends[c] = func() { f.write(at, c) }
		return err
	case "ftruncate":
		size, err := strconv.ParseInt(c.Args[1], 10, 64)
		r.ends[c] = func() {
			if c.Error == "" {
				f.node.Truncate(size)
			}
		}
		return err
	case "fsync", "fdatasync":
		if !r.leave(r.below(pathOf(c.Args[0]))) {
			sync := f.node.BeginSync()
			r.ends[c] = func() {
				if c.Error == "" {
					sync.End()
				}
			}
		}
		return nil
	case "mmap":
		r.Mapped[r.below(pathOf(c.Args[4]))] = true
		return nil
	}
	return fmt.Errorf("%s is not modelled", c.Name)
}

func (f *file) write(at int64, c *Call) (n int64) {
	if c.Error != "" {
		return 0
	}
	f.node.Write(at, []byte(c.Args[1][:c.Result]))
	return c.Result
}

func (r *Replay) beginOpen(c *Call, folder, name, flags string) error {
	p, is := r.place(folder, name)
	if !is {
		return nil
	}
	for _, unknown := range []string{"O_TMPFILE", "O_SYNC", "O_DSYNC"} {
		if strings.Contains(flags, unknown) {
			return fmt.Errorf("%s is not modelled", unknown)
		}
	}
	var created *disk.Change
	if (strings.Contains(flags, "O_CREAT") || c.Name == "creat") && succeeds(c) && p.node() == nil {
		parent, name, err := p.parent()
		if err != nil {
			return err
		}
		created = parent.Link(name, disk.NewFile())
	}
	r.ends[c] = func() {
		if c.Error != "" {
			if c.Error == "EEXIST" {
				p.folder.Seen(p.path)
			}
			return
		}
		if created != nil {
			created.Made()
		}
		node := p.node()
		if node == nil {
			return // Step notices
		}
		p.folder.Seen(p.path)
		if (strings.Contains(flags, "O_TRUNC") || c.Name == "creat") && node.Size() > 0 {
			node.Truncate(0)
		}
		r.open[c.Result] = &file{node: node, append: strings.Contains(flags, "O_APPEND"), reads: strings.Contains(flags, "O_RDWR")}
	}
	return nil
}

// succeeds tells at a call's beginning how it will end: only then has it an effect.
func succeeds(c *Call) bool { return c.Returned && c.Error == "" }

func (r *Replay) beginMkdir(c *Call, folder, name string) error {
	p, is := r.place(folder, name)
	if !is {
		return nil
	}
	if !succeeds(c) {
		r.ends[c] = func() {
			if c.Error == "EEXIST" { // whoever makes it has made it
				p.folder.Seen(p.path)
			}
		}
		return nil
	}
	parent, base, err := p.parent()
	if err != nil {
		return err
	}
	r.ends[c] = parent.Link(base, disk.NewFolder()).Made
	return nil
}

// beginMove begins a rename or a link.
func (r *Replay) beginMove(c *Call, folder, name, toFolder, toName string, rename bool) error {
	from, is1 := r.place(folder, name)
	to, is2 := r.place(toFolder, toName)
	if !is1 && !is2 || !succeeds(c) {
		return nil
	}
	if is1 != is2 {
		return errors.New("it goes into the folder, or out of it")
	}
	node := from.node()
	fromParent, fromBase, err1 := from.parent()
	toParent, toBase, err2 := to.parent()
	if node == nil || err1 != nil || err2 != nil {
		return fmt.Errorf("there is no %s", name)
	}
	given := toParent.Link(toBase, node)
	if !rename {
		r.ends[c] = given.Made
		return nil
	}
	taken := fromParent.Unlink(fromBase)
	r.ends[c] = func() { given.Made(); taken.Made() }
	return nil
}

func (r *Replay) beginUnlink(c *Call, folder, name string) error {
	p, is := r.place(folder, name)
	if !is || !succeeds(c) {
		return nil
	}
	parent, base, err := p.parent()
	if err != nil {
		return err
	}
	r.ends[c] = parent.Unlink(base).Made
	return nil
}
