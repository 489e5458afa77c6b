package manifest

import (
	"bufio"
	"fmt"
	"io"

	"github.com/coulomb/artifact-store/pkg/canonical"
)

// Each is called for what a manifest has, in this order, and numbered from 0 in each
// list. What is nil is skipped.
type Each struct {
	File   func(number int, f File) error
	Link   func(number int, l Link) error
	Folder func(number int, f Folder) error
}

// Walk is Decode for an encoding that is known to be a manifest's, such as that
// of a record of the log, which was checked before it was appended. It calls
// file for each of them in order, and holds no more than one at a time: what
// Decode makes is several times the encoding. The result has no Files, Links and
// Folders. An unknown field is an error, and so is a version above SchemaVersion.
func Walk(data []byte, file func(number int, f File) error) (*Manifest, error) {
	return WalkAll(data, Each{File: file})
}

// WalkAll is Walk for all that a manifest has.
func WalkAll(data []byte, each Each) (*Manifest, error) { return walk(&inMemory{data}, each) }

// Stream is WalkAll for an encoding that is read piece by piece: a few kilobytes
// of it are in memory at a time.
func Stream(from io.Reader, each Each) (*Manifest, error) {
	return walk(&inStream{bufio.NewReaderSize(from, 2*maxItem)}, each)
}

// maxItem is more than a file takes, a link, or the text of an annotation, in bytes.
const maxItem = 8 << 10

// items are CBOR, one item after another.
type items interface {
	// first decodes the first item into v and goes on behind it.
	first(v any) error
	// open goes on behind the head of an array or a map, whose elements or pairs it counts.
	open(head func(data []byte) (n int, rest []byte, err error)) (int, error)
	// left returns how many bytes follow, as far as it knows.
	left() int
}

type inMemory struct{ rest []byte }

func (m *inMemory) first(v any) (err error) {
	m.rest, err = canonical.First(m.rest, v)
	return err
}

func (m *inMemory) open(head func([]byte) (int, []byte, error)) (n int, err error) {
	n, m.rest, err = head(m.rest)
	return n, err
}

func (m *inMemory) left() int { return len(m.rest) }

type inStream struct{ from *bufio.Reader }

func (s *inStream) open(head func([]byte) (int, []byte, error)) (n int, err error) {
	ahead, err := s.from.Peek(maxItem)
	if err != nil && err != io.EOF {
		return 0, err
	}
	n, rest, err := head(ahead)
	if err == nil {
		_, err = s.from.Discard(len(ahead) - len(rest))
	}
	return n, err
}

func (s *inStream) first(v any) error {
	_, err := s.open(func(data []byte) (_ int, rest []byte, err error) {
		rest, err = canonical.First(data, v)
		return 0, rest, err
	})
	return err
}

func (s *inStream) left() int {
	ahead, _ := s.from.Peek(1)
	return len(ahead)
}

func walk(from items, each Each) (*Manifest, error) {
	var m Manifest
	version := 0
	pairs, err := from.open(canonical.Map)
	for ; pairs > 0 && err == nil; pairs-- {
		var key string
		if err = from.first(&key); err != nil {
			break
		}
		switch key {
		case "schemaVersion":
			err = from.first(&version)
		case "producer":
			err = from.first(&m.Producer)
		case "name":
			err = from.first(&m.Name)
		case "version":
			err = from.first(&m.Version)
		case "mediaType":
			err = from.first(&m.MediaType)
		case "annotations":
			m.Annotations, err = walkAnnotations(from)
		case "files":
			err = walkList(from, key, func(i int, f *wireFile) error {
				file, err := f.file(i)
				return call(each.File, i, file, err)
			})
		case "links":
			err = walkList(from, key, func(i int, l *wireLink) error { return call(each.Link, i, Link(*l), nil) })
		case "folders":
			err = walkList(from, key, func(i int, f *wireFolder) error {
				folder, err := f.folder(i)
				return call(each.Folder, i, folder, err)
			})
		default:
			err = invalid("manifest", "has an unknown field %q", key)
		}
	}
	switch {
	case err != nil:
		return nil, err
	case version < 1 || version > SchemaVersion:
		return nil, unknownVersion(version)
	case from.left() > 0:
		return nil, invalid("manifest", "%d bytes or more follow it", from.left())
	}
	return &m, nil
}

func walkAnnotations(from items) (map[string]string, error) {
	n, err := from.open(canonical.Map)
	annotations := make(map[string]string)
	for ; n > 0 && err == nil; n-- {
		var key, value string
		if err = from.first(&key); err == nil {
			err = from.first(&value)
		}
		annotations[key] = value
	}
	return annotations, err
}

func walkList[W any](from items, key string, item func(number int, w *W) error) error {
	n, err := from.open(canonical.Array)
	if err != nil {
		return err
	}
	for i := range n {
		var w W
		if err := from.first(&w); err != nil {
			return fmt.Errorf("manifest.%s[%d]: %w", key, i, err)
		}
		if err := item(i, &w); err != nil {
			return err
		}
	}
	return nil
}

func call[T any](each func(int, T) error, number int, item T, err error) error {
	if err != nil || each == nil {
		return err
	}
	return each(number, item)
}
