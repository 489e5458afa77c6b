// Package tarbody reads the files of a tar archive that a request carries. Errors are of
// package registry, and name the field.
package tarbody

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/coulomb/artifact-store/pkg/httpapi/wire"
	"github.com/coulomb/artifact-store/pkg/registry"
)

// maxHeader is how many bytes of headers may stand before a file: a path and digests
// have at most 2 KiB.
const maxHeader = 32 << 10

// sparseRecords begin the PAX records of a sparse file (GNU tar's manual, "Storing Sparse Files").
const sparseRecords = "GNU.sparse."

// Reader reads one archive. It is for one goroutine.
type Reader struct {
	archive *tar.Reader
	body    *endReader
}

// NewReader reads the archive that body is.
func NewReader(body io.Reader) *Reader {
	ending := &endReader{from: body}
	return &Reader{tar.NewReader(ending), ending}
}

// Next returns the next file, whose Reader is valid until the next call; io.EOF after
// the last one of a complete archive. Errors of the body are returned as they are.
func (r *Reader) Next() (registry.NamedContent, error) {
	file, err := r.next()
	if err == io.EOF && r.body.ended { // archive/tar accepts an archive that was cut between two files
		err = registry.Invalid("body", "is an incomplete tar archive: its end is missing")
	}
	return file, err
}

// endReader notes a read at the end of the body. A complete archive ends with
// two records of zeros, after which archive/tar reads nothing.
type endReader struct {
	from  io.Reader
	ended bool
	left  int64 // bytes that the headers before a file may still have; none are counted while it is negative
}

// header asks the archive for the next header. archive/tar would hold up to 1 MiB of
// it for each bundle, however slowly it comes.
func (e *endReader) header(archive *tar.Reader) (*tar.Header, error) {
	e.left = maxHeader
	defer func() { e.left = -1 }()
	return archive.Next()
}

func (e *endReader) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, registry.Invalid("body", "has more than %d bytes of headers before a file", maxHeader)
	}
	if e.left > 0 {
		p = p[:min(int64(len(p)), e.left)]
	}
	n, err := e.from.Read(p)
	if e.left > 0 {
		e.left -= int64(n)
	}
	e.ended = e.ended || n < len(p) && err == io.EOF
	return n, err
}

// fileRecords are the PAX records that say which file it is, how long, or what
// its bytes are.
var fileRecords = []string{"path", "size", "linkpath", wire.DigestRecord}

// typeLabel is the name of an archive (GNU tar --label).
const typeLabel = 'V'

// kindOf says what is no file, and how to pack what it stands for.
func kindOf(typeflag byte) string {
	switch typeflag {
	case tar.TypeLink:
		return "a hard link to another file of the archive: pack it with --hard-dereference"
	case tar.TypeSymlink:
		return "a symbolic link: pack the file that it points to (--dereference)"
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		return "a device or a pipe, not a file"
	}
	return fmt.Sprintf("of type %q, which is not supported: only files are", typeflag)
}

// next leaves out what is no file of a package. Folders are skipped: a package has
// none. So are the name of the archive and a global header, which git archive begins
// with. Anything else that is not a regular file is refused.
func (r *Reader) next() (registry.NamedContent, error) {
	for {
		header, err := r.body.header(r.archive)
		switch {
		case err == io.EOF:
			return registry.NamedContent{}, io.EOF
		case errors.Is(err, io.ErrUnexpectedEOF):
			return registry.NamedContent{}, registry.Invalid("body", "is an incomplete tar archive")
		case errors.Is(err, tar.ErrHeader), errors.Is(err, tar.ErrFieldTooLong):
			return registry.NamedContent{}, registry.Invalid("body", "is not a tar archive")
		case err != nil && !errors.Is(err, tar.ErrInsecurePath): // the registry validates paths
			return registry.NamedContent{}, err
		case header.Typeflag == tar.TypeDir, header.Typeflag == typeLabel:
			continue
		case header.Typeflag == tar.TypeXGlobalHeader:
			// It is of all files that follow, and archive/tar does not apply it: what would change them must not be ignored.
			for name := range header.PAXRecords {
				if slices.Contains(fileRecords, name) || strings.HasPrefix(name, sparseRecords) {
					return registry.NamedContent{}, registry.Invalid("body", "has the record %.80q in a global header, which is supported for single files only", name)
				}
			}
			continue
		case isSparse(header): // a few bytes would expand to any number of zeros
			return registry.NamedContent{}, registry.Invalid("path", "%.200q is a sparse file, which is not supported: pack it without --sparse", header.Name)
		case header.Typeflag != tar.TypeReg && header.Typeflag != tar.TypeCont: // POSIX: a contiguous file is a regular one
			return registry.NamedContent{}, registry.Invalid("path", "%.200q is %s", header.Name, kindOf(header.Typeflag))
		}
		// "tar -c ." names every file "./…".
		file := registry.NamedContent{Path: strings.TrimPrefix(header.Name, "./"), Content: registry.Content{
			Reader: r.archive, Size: header.Size, Executable: header.Mode&0o111 != 0,
		}}
		if err := wire.ParseDigests(header.PAXRecords[wire.DigestRecord], &file.Digests); err != nil {
			return registry.NamedContent{}, registry.Invalid(wire.ReprDigest, "of %.200q: %v", header.Name, err)
		}
		return file, nil
	}
}

func isSparse(header *tar.Header) bool {
	if header.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for name := range header.PAXRecords {
		if strings.HasPrefix(name, sparseRecords) {
			return true
		}
	}
	return false
}
