package server

import (
	"archive/tar"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/coulomb/artifact-store/pkg/httpapi/wire"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/serving"
)

// sparseRecords begin the PAX records of a sparse file (GNU tar's manual, "Storing Sparse Files").
const sparseRecords = "GNU.sparse."

// putFiles takes a tar archive: many small files in one request.
func (h *handler) putFiles(w *serving.Writer, r *http.Request) error {
	if !isMediaType(r.Header.Get("Content-Type"), wire.TarMediaType) {
		return problemMedia.problem("", wire.At("Content-Type", "must be "+wire.TarMediaType))
	}
	if _, err := contentOf(r); err != nil { // no coding, no range
		return err
	}
	body := &endReader{from: r.Body}
	archive := tar.NewReader(body)
	bundled, err := h.registry.PutFiles(r.Context(), r.PathValue("id"), func() (registry.NamedContent, error) {
		file, err := nextFile(archive)
		if err == io.EOF && body.ended { // package tar takes one that was cut between two files for whole
			err = registry.Invalid("body", "is not a whole tar archive: its end is missing")
		}
		return file, err
	})
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, r.Body); err != nil { // tar fills its last record with zeros
		return err
	}
	return sendJSON(w, http.StatusOK, bundled)
}

// endReader notes that more was asked for than there is: a whole archive ends
// with two records of zeros, after which nothing is asked for.
type endReader struct {
	from  io.Reader
	ended bool
}

func (e *endReader) Read(p []byte) (int, error) {
	n, err := e.from.Read(p)
	e.ended = e.ended || n < len(p) && err == io.EOF
	return n, err
}

// nextFile returns the archive's next file. Folders are passed over: a package
// has none. Anything else that is no file is refused.
func nextFile(archive *tar.Reader) (registry.NamedContent, error) {
	for {
		header, err := archive.Next()
		switch {
		case err == io.EOF:
			return registry.NamedContent{}, io.EOF
		case errors.Is(err, io.ErrUnexpectedEOF):
			return registry.NamedContent{}, registry.Invalid("body", "is not a whole tar archive")
		case errors.Is(err, tar.ErrHeader), errors.Is(err, tar.ErrFieldTooLong):
			return registry.NamedContent{}, registry.Invalid("body", "is not a tar archive")
		case err != nil && !errors.Is(err, tar.ErrInsecurePath): // which the registry will say better
			return registry.NamedContent{}, err
		case header.Typeflag == tar.TypeDir:
			continue
		case isSparse(header): // a few bytes would become as many zeros as they say
			return registry.NamedContent{}, registry.Invalid("path", "%.200q is a sparse file, which is not taken: pack it without its holes", header.Name)
		case header.Typeflag != tar.TypeReg:
			return registry.NamedContent{}, registry.Invalid("path", "%.200q is no regular file: send what it points to", header.Name)
		}
		// "tar -c ." names every file "./…".
		file := registry.NamedContent{Path: strings.TrimPrefix(header.Name, "./"), Content: registry.Content{
			Reader: archive, Size: header.Size, Executable: header.Mode&0o111 != 0,
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
