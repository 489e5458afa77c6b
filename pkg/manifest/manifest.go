// Package manifest encodes the content of a package: the canonical CBOR list of its
// files. Equal content gives equal bytes and an equal digest, whenever and wherever
// the manifest is made: it contains no times, no retention, no location.
//
// Format, schema version 1, as CDDL (RFC 8610); the encoding is that of
// package canonical:
//
//	manifest = {
//	  "schemaVersion": 1,
//	  "producer": tstr, "name": tstr, "version": tstr,
//	  ? "mediaType": tstr,
//	  ? "annotations": { + tstr => tstr },
//	  "files": [ * file ],               ; by path, bytewise
//	}
//	file = {
//	  "path": tstr, "size": uint,
//	  "sha256": bstr .size 32, "blake3": bstr .size 32,
//	  ? "executable": true,
//	  ? "mediaType": tstr,
//	}
//
// Optional fields that are empty are absent. Unlisted fields are refused, so a
// change of this list is a new schema version.
package manifest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/coulomb/artifact-store/pkg/canonical"
	"github.com/coulomb/artifact-store/pkg/digest"
)

// SchemaVersion is the version that Encode writes and Decode reads.
const SchemaVersion = 1

// MediaType of an encoded manifest over HTTP.
const MediaType = "application/vnd.artifactstore.manifest.v1+cbor"

// Manifest is the content of a package version.
type Manifest struct {
	Producer    string            `json:"producer"`
	Name        string            `json:"name"`
	Version     string            `json:"version"`
	MediaType   string            `json:"mediaType,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Files       []File            `json:"files"`
}

// File is one file of a package. Size is in bytes; both digests are always set.
type File struct {
	Path       string      `json:"path"`
	Size       int64       `json:"size"`
	Digests    digest.Dual `json:"digests"`
	Executable bool        `json:"executable,omitempty"`
	MediaType  string      `json:"mediaType,omitempty"`
}

type wireManifest struct {
	SchemaVersion int               `cbor:"schemaVersion"`
	Producer      string            `cbor:"producer"`
	Name          string            `cbor:"name"`
	Version       string            `cbor:"version"`
	MediaType     string            `cbor:"mediaType,omitempty"`
	Annotations   map[string]string `cbor:"annotations,omitempty"`
	Files         []wireFile        `cbor:"files"`
}

type wireFile struct {
	Path       string `cbor:"path"`
	Size       int64  `cbor:"size"`
	SHA256     []byte `cbor:"sha256"`
	BLAKE3     []byte `cbor:"blake3"`
	Executable bool   `cbor:"executable,omitempty"`
	MediaType  string `cbor:"mediaType,omitempty"`
}

// Encode sorts m.Files by path and returns the only encoding of m. Errors are
// *InvalidError. It checks paths, sizes and digests; the registry checks names and
// media types. It takes no more memory than its result, and some per file for the
// check of their paths.
func Encode(m *Manifest) ([]byte, error) {
	slices.SortFunc(m.Files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	if err := m.validate(); err != nil {
		return nil, err
	}
	frame, at, err := m.encodeFrame()
	if err != nil {
		return nil, err
	}
	size := len(frame) - 1 + headSize(int64(len(m.Files)))
	for i := range m.Files {
		size += m.Files[i].encodedSize()
	}
	if size > MaxSize {
		return nil, invalid("files", "result in a manifest of %d bytes; it must be at most %d", size, MaxSize)
	}
	data := bytes.NewBuffer(make([]byte, 0, size))
	data.Write(canonical.AppendArrayHead(slices.Clone(frame[:at]), len(m.Files)))
	var item wireFile // one for all of them: a manifest may have 100,000
	for _, f := range m.Files {
		sha, b3 := f.Digests.SHA256.Sum(), f.Digests.BLAKE3.Sum()
		item = wireFile{f.Path, f.Size, append(item.SHA256[:0], sha[:]...), append(item.BLAKE3[:0], b3[:]...), f.Executable, f.MediaType}
		if err := canonical.MarshalTo(data, &item); err != nil {
			return nil, fmt.Errorf("encoding the manifest: %w", err)
		}
	}
	data.Write(frame[at+1:])
	return data.Bytes(), nil
}

// encodedSize is how many bytes a file takes: a head, and keys with their values.
func (f *File) encodedSize() int {
	const sum = 2 + digest.Size
	size := 1 + len("_path") + headSize(int64(len(f.Path))) + len(f.Path) + len("_size") + headSize(f.Size) + len("_sha256") + sum + len("_blake3") + sum
	if f.MediaType != "" {
		size += len("_mediaType") + headSize(int64(len(f.MediaType))) + len(f.MediaType)
	}
	if f.Executable {
		size += len("_executable") + 1
	}
	return size
}

// headSize is how many bytes a number takes, or a length.
func headSize(n int64) int {
	switch {
	case n < 24:
		return 1
	case n < 1<<8:
		return 2
	case n < 1<<16:
		return 3
	case n < 1<<32:
		return 5
	}
	return 9
}

// encodeFrame encodes the manifest without files, and says where the empty list
// of them is, of one byte.
func (m *Manifest) encodeFrame() (frame []byte, at int, err error) {
	frame, err = canonical.Marshal(wireManifest{
		SchemaVersion: SchemaVersion, Producer: m.Producer, Name: m.Name, Version: m.Version,
		MediaType: m.MediaType, Annotations: m.Annotations, Files: []wireFile{},
	})
	if err != nil {
		return nil, 0, fmt.Errorf("encoding the manifest: %w", err)
	}
	name, err := canonical.Marshal(m.Name)
	// The shorter key comes first: a map of few pairs, "name", and "files".
	return frame, 1 + len("_name") + len(name) + len("_files"), err
}

// Decode reads an encoding. Anything but the only encoding of a valid manifest is an
// *InvalidError on "manifest" or on the field inside it.
func Decode(data []byte) (*Manifest, error) {
	if len(data) > MaxSize {
		return nil, invalid("manifest", "must be at most %d bytes, is %d", MaxSize, len(data))
	}
	var wire wireManifest
	if err := canonical.Unmarshal(data, &wire); err != nil {
		return nil, invalid("manifest", "%v", err)
	}
	if wire.SchemaVersion != SchemaVersion {
		return nil, invalid("manifest.schemaVersion", "must be %d, is %d", SchemaVersion, wire.SchemaVersion)
	}
	m := &Manifest{
		Producer: wire.Producer, Name: wire.Name, Version: wire.Version,
		MediaType: wire.MediaType, Annotations: wire.Annotations, Files: make([]File, len(wire.Files)),
	}
	for i, f := range wire.Files {
		sha, err := digest.FromBytes(digest.SHA256, f.SHA256)
		if err != nil {
			return nil, invalid(fmt.Sprintf("manifest.files[%d].sha256", i), "%v", err)
		}
		b3, err := digest.FromBytes(digest.BLAKE3, f.BLAKE3)
		if err != nil {
			return nil, invalid(fmt.Sprintf("manifest.files[%d].blake3", i), "%v", err)
		}
		m.Files[i] = File{f.Path, f.Size, digest.Dual{SHA256: sha, BLAKE3: b3}, f.Executable, f.MediaType}
	}
	// Detects canonical CBOR that Encode would not produce: files out of order, an
	// optional field that is present but empty.
	again, err := Encode(m)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, data) {
		return nil, invalid("manifest", "is not the canonical encoding of its content (files out of order, or an empty optional field)")
	}
	return m, nil
}

// Digest names an encoded manifest like any blob.
func Digest(encoded []byte) digest.Digest { return digest.New(digest.SHA256, sha256.Sum256(encoded)) }

// Bytes is the sum of the sizes of all files.
func (m *Manifest) Bytes() int64 {
	var sum int64
	for _, f := range m.Files {
		sum += f.Size
	}
	return sum
}

func (m *Manifest) validate() error {
	if len(m.Files) > MaxFiles {
		return invalid("files", "must be at most %d, are %d", MaxFiles, len(m.Files))
	}
	for i, f := range m.Files {
		if err := ValidatePath(f.Path); err != nil {
			return invalid(fmt.Sprintf("files[%d].path", i), "%s", err.(*InvalidError).Message)
		}
		if f.Size < 0 || f.Size > MaxFileSize {
			return invalid(fmt.Sprintf("files[%d].size", i), "must be 0 to %d bytes, is %d", int64(MaxFileSize), f.Size)
		}
		if f.Digests.SHA256.Algorithm() != digest.SHA256 || f.Digests.BLAKE3.Algorithm() != digest.BLAKE3 {
			return invalid(fmt.Sprintf("files[%d].digests", i), "must have a sha256 and a blake3")
		}
	}
	return checkPaths(m.Files)
}
