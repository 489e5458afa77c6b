package manifest

import (
	"fmt"
	"strings"
)

// ValidateTarget returns nil if a link at path may have the target, as far as the two
// tell: relative, made of what paths are made of, and not above the root of the package.
// Encode also follows other links. Otherwise it returns an *InvalidError on "target".
func ValidateTarget(path, target string) error {
	switch {
	case target == "":
		return invalid("target", "of %q must not be empty", path)
	case len(target) > MaxPathLength:
		return invalid("target", "of %q must be at most %d bytes, is %d", path, MaxPathLength, len(target))
	case strings.HasPrefix(target, "/"):
		return invalid("target", "%q of %q must be relative", target, path)
	case !isPathText(target):
		return invalid("target", "%q of %q must be UTF-8 without backslashes and control characters", target, path)
	}
	depth := strings.Count(path, "/")
	for segment := range strings.SplitSeq(target, "/") {
		switch {
		case len(segment) > MaxSegmentLength:
			return invalid("target", "of %q: the segment %.40q… must be at most %d bytes, is %d", path, segment, MaxSegmentLength, len(segment))
		case segment == "" || segment == ".":
		case segment != "..":
			depth++
		case depth == 0:
			return leaves(path, target)
		default:
			depth--
		}
	}
	return nil
}

func leaves(path, target string) *InvalidError {
	return &InvalidError{"target", fmt.Sprintf("%q of %q leads out of the package", target, path)}
}

func lastSlash(path string) int { return strings.LastIndexByte(path, '/') }

// entry is where a path is listed: the list and the number in it. There may be 100,000.
type entry uint32

const (
	inFiles entry = iota << listShift
	inLinks
	inFolders

	listShift = 24 // MaxFiles is less than that many bits can count
)

func (e entry) list() entry { return e >> listShift << listShift }
func (e entry) at() int     { return int(e & (1<<listShift - 1)) }

// field names the entry as in JSON.
func (e entry) field(name string) string {
	list := "files"
	switch e.list() {
	case inLinks:
		list = "links"
	case inFolders:
		list = "folders"
	}
	return fmt.Sprintf("%s[%d].%s", list, e.at(), name)
}

func (m *Manifest) pathOf(e entry) string {
	switch e.list() {
	case inLinks:
		return m.Links[e.at()].Path
	case inFolders:
		return m.Folders[e.at()].Path
	}
	return m.Files[e.at()].Path
}

// entries calls each for all files, links and folders, until one fails.
func (m *Manifest) entries(each func(e entry, path string) error) error {
	for i := range m.Files {
		if err := each(inFiles+entry(i), m.Files[i].Path); err != nil {
			return err
		}
	}
	for i := range m.Links {
		if err := each(inLinks+entry(i), m.Links[i].Path); err != nil {
			return err
		}
	}
	for i := range m.Folders {
		if err := each(inFolders+entry(i), m.Folders[i].Path); err != nil {
			return err
		}
	}
	return nil
}

// checkTree finds the first conflict among sorted entries that are valid by themselves:
// the same path twice, the same path after NFC, something below a file or a link, a
// folder that need not be listed, a link that leads out.
func (m *Manifest) checkTree() error {
	seen := make(map[string]entry, len(m.Files)+len(m.Links)+len(m.Folders))
	if err := m.entries(func(e entry, path string) error {
		folded := FoldPath(path)
		if first, taken := seen[folded]; taken {
			if other := m.pathOf(first); other != path {
				return invalid(e.field("path"), "%q and %q are equal after Unicode normalization (NFC)", path, other)
			}
			return invalid(e.field("path"), "%q appears twice", path)
		}
		seen[folded] = e
		return nil
	}); err != nil {
		return err
	}
	if err := m.entries(func(e entry, path string) error {
		folded := FoldPath(path)
		for at := lastSlash(folded); at > 0; at = lastSlash(folded[:at]) {
			if above, listed := seen[folded[:at]]; listed {
				if err := m.checkAbove(above, e, path); err != nil {
					return err
				}
			}
		}
		return nil
	}); err != nil || len(m.Links) == 0 {
		return err
	}
	r := resolver{m: m, listed: seen, done: make([]resolved, len(m.Links))}
	for i := range m.Links {
		if _, err := r.resolve(i, 0); err != nil {
			return err
		}
	}
	return nil
}

// checkAbove decides whether something may be below a listed path.
func (m *Manifest) checkAbove(above, e entry, path string) error {
	other := m.pathOf(above)
	switch {
	case above.list() == inFiles:
		return invalid(e.field("path"), "%q needs a folder where %q is a file", path, other)
	case above.list() == inLinks:
		return invalid(e.field("path"), "%q needs a folder where %q is a symbolic link", path, other)
	case !m.Folders[above.at()].Mode.Recorded():
		return invalid(above.field("path"), "%q is not empty: it has %q, and is listed only with a mode", other, path)
	}
	return nil
}

// maxHops is how many links the name of a file may lead through, as on Linux.
const maxHops = 40

// resolver finds out where links lead. A target may name other links, so what it says by
// itself is not where it leads: with "a/b/up" to "../..", "a/b/up/../x" is outside.
type resolver struct {
	m      *Manifest
	listed map[string]entry
	done   []resolved // of each link
}

type resolved struct {
	path  string // normalized by FoldPath, "" for the root
	hops  int    // links on the way, itself included; 0 if it is not known yet
	under bool   // it is being resolved
}

func (r *resolver) resolve(i, depth int) (resolved, error) {
	link, field := r.m.Links[i], (inLinks + entry(i)).field("target")
	switch known := r.done[i]; {
	case known.hops > 0:
		return known, nil
	case known.under:
		return known, invalid(field, "%q of %q leads in a circle", link.Target, link.Path)
	case depth == maxHops:
		return known, invalid(field, "%q of %q leads through more than %d links", link.Target, link.Path, maxHops)
	}
	r.done[i].under = true
	at, hops := "", 1
	folded := FoldPath(link.Path)
	if slash := lastSlash(folded); slash > 0 {
		at = folded[:slash]
	}
	for segment := range strings.SplitSeq(FoldPath(link.Target), "/") {
		switch {
		case segment == "" || segment == ".":
			continue
		case segment == "..":
			if at == "" {
				return resolved{}, invalid(field, "%s", leaves(link.Path, link.Target).Message)
			}
			at = at[:max(0, lastSlash(at))]
			continue
		case at == "":
			at = segment
		default:
			at += "/" + segment
		}
		if e, listed := r.listed[at]; listed && e.list() == inLinks {
			next, err := r.resolve(e.at(), depth+1)
			if err != nil {
				return next, err
			}
			at, hops = next.path, hops+next.hops
		}
		if hops > maxHops {
			return resolved{}, invalid(field, "%q of %q leads through more than %d links", link.Target, link.Path, maxHops)
		}
		if len(at) > MaxPathLength {
			return resolved{}, invalid(field, "%q of %q leads to a path of more than %d bytes", link.Target, link.Path, MaxPathLength)
		}
	}
	r.done[i] = resolved{path: at, hops: hops}
	return r.done[i], nil
}
