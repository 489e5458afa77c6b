package httpapi

import (
	"archive/tar"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/coulomb/artifact-store/pkg/registry"
)

const (
	tarMediaType = "application/x-tar"
	// digestRecord is the PAX record (POSIX.1-2017, pax, vendor namespace) that
	// declares a file's digests, in the words of Repr-Digest.
	digestRecord = "ARTIFACTSTORE.repr-digest"
	// sparseRecords begin the PAX records of a sparse file (GNU tar's manual, "Storing Sparse Files").
	sparseRecords = "GNU.sparse."
)

// putFiles takes a tar archive: many small files in one request.
func (h *handler) putFiles(w *responseWriter, r *http.Request) error {
	if !isMediaType(r.Header.Get("Content-Type"), tarMediaType) {
		return problemMedia.problem("", FieldError{"Content-Type", "must be " + tarMediaType})
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
		if err := parseDigests(header.PAXRecords[digestRecord], &file.Digests); err != nil {
			return registry.NamedContent{}, registry.Invalid(reprDigest, "of %.200q: %v", header.Name, err)
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

// writeFile adds a file of known size to an archive.
func writeFile(archive *tar.Writer, file registry.NamedContent) error {
	header := &tar.Header{Typeflag: tar.TypeReg, Name: file.Path, Size: file.Size, Mode: 0o644}
	if file.Executable {
		header.Mode = 0o755
	}
	if digests := formatDigests(file.Digests); digests != "" {
		header.PAXRecords = map[string]string{digestRecord: digests}
	}
	if file.Size < 0 {
		return registry.Invalid("size", "of %.200q must not be negative, is %d", file.Path, file.Size)
	}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	body := &sizedReader{from: file.Reader, size: file.Size, left: file.Size}
	if file.Size == 0 {
		if _, err := body.Read(nil); err != io.EOF {
			return err
		}
		return nil
	}
	_, err := io.Copy(archive, body)
	return err
}
