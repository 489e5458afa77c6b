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
)

// putFiles takes a tar archive: many small files in one request.
func (h *handler) putFiles(w *responseWriter, r *http.Request) error {
	if !isMediaType(r.Header.Get("Content-Type"), tarMediaType) {
		return problemMedia.problem("", FieldError{"Content-Type", "must be " + tarMediaType})
	}
	if _, err := contentOf(r); err != nil { // no coding, no range
		return err
	}
	archive := tar.NewReader(r.Body)
	bundled, err := h.registry.PutFiles(r.Context(), r.PathValue("id"), func() (registry.NamedContent, error) {
		return nextFile(archive)
	})
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, r.Body); err != nil { // tar fills its last record with zeros
		return err
	}
	return sendJSON(w, http.StatusOK, bundled)
}

// nextFile returns the archive's next file. Folders are passed over: a package
// has none. Anything else that is no file is refused.
func nextFile(archive *tar.Reader) (registry.NamedContent, error) {
	for {
		header, err := archive.Next()
		switch {
		case err == io.EOF:
			return registry.NamedContent{}, io.EOF
		case errors.Is(err, tar.ErrHeader):
			return registry.NamedContent{}, registry.Invalid("body", "is not a tar archive")
		case err != nil && !errors.Is(err, tar.ErrInsecurePath): // which the registry will say better
			return registry.NamedContent{}, err
		case header.Typeflag == tar.TypeDir:
			continue
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
