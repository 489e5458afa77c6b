package tarbody

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/coulomb/artifact-store/pkg/registry"
)

// FuzzBundle: whatever is sent as an archive ends in files or in the client's
// error, and a file has no more bytes than were sent.
func FuzzBundle(f *testing.F) {
	for _, header := range []tar.Header{
		{Typeflag: tar.TypeReg, Name: "a", Size: 1, Mode: 0o755},
		{Typeflag: tar.TypeReg, Name: "./dir/ä", Size: 1, Format: tar.FormatPAX, PAXRecords: map[string]string{"ARTIFACTSTORE.x": "y"}},
		{Typeflag: tar.TypeDir, Name: "dir/"},
		{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "c"}},
		{Typeflag: tar.TypeSymlink, Name: "l", Linkname: "a"},
	} {
		var archive bytes.Buffer
		writer := tar.NewWriter(&archive)
		if err := writer.WriteHeader(&header); err != nil {
			f.Fatal(err)
		}
		if header.Size > 0 {
			io.WriteString(writer, "x")
		}
		if err := writer.Close(); err != nil {
			f.Fatal(err)
		}
		f.Add(archive.Bytes())
		f.Add(archive.Bytes()[:700])
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		archive := NewReader(bytes.NewReader(sent))
		for read := int64(0); ; {
			file, err := archive.Next()
			if err == io.EOF {
				return
			}
			if err != nil {
				if !errors.Is(err, registry.ErrInvalid) {
					t.Fatalf("it is not told as the client's fault: %v", err)
				}
				return
			}
			n, err := io.Copy(io.Discard, file.Content.Reader)
			if read += n; read > int64(len(sent)) {
				t.Fatalf("%d bytes have become %d", len(sent), read)
			}
			if err == nil && n != file.Content.Size {
				t.Fatalf("%q has %d bytes and says %d", file.Path, n, file.Content.Size)
			}
		}
	})
}
