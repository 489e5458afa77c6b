// Package manifest encodes the content of a package: the canonical CBOR list of its
// files. Equal content gives equal bytes and an equal digest, whenever and wherever
// the manifest is made: it contains no times, no retention, no location.
//
// Format as CDDL (RFC 8610); the encoding is that of package canonical:
//
//	manifest = {
//	  "schemaVersion": 1 / 2,
//	  "producer": tstr, "name": tstr, "version": tstr,
//	  ? "mediaType": tstr,
//	  ? "annotations": { + tstr => tstr },
//	  "files": [ * file ],               ; by path, bytewise
//	  ? "links": [ + link ],             ; by path, version 2
//	  ? "folders": [ + folder ],         ; by path, version 2
//	}
//	file = {
//	  "path": tstr, "size": uint,
//	  "sha256": bstr .size 32, "blake3": bstr .size 32,
//	  ? "executable": true,
//	  ? "mediaType": tstr,
//	  ? "mode": 0..511,                  ; permission bits, version 2
//	}
//	link = { "path": tstr, "target": tstr }
//	folder = { "path": tstr, ? "mode": 0..511 }
//
// A manifest with a link, a folder or a mode is of schema version 2, and any other of
// version 1: what version 1 can say has one encoding and one digest for ever. A folder
// without a mode is empty; what has something below it is there without being listed.
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

// SchemaVersion is the highest version that Encode writes and Decode reads.
const SchemaVersion = 2

// MediaType of an encoded manifest over HTTP, of every schema version.
const MediaType = "application/vnd.artifactstore.manifest.v1+cbor"

// Manifest is the content of a package version.
type Manifest struct {
	Producer    string            `json:"producer"`
	Name        string            `json:"name"`
	Version     string            `json:"version"`
	MediaType   string            `json:"mediaType,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Files       []File            `json:"files"`
	Links       []Link            `json:"links,omitempty"`
	Folders     []Folder          `json:"folders,omitempty"`
}

// File is one file of a package. Size is in bytes; both digests are always set.
type File struct {
	Path       string      `json:"path"`
	Size       int64       `json:"size"`
	Digests    digest.Dual `json:"digests"`
	Executable bool        `json:"executable,omitempty"`
	MediaType  string      `json:"mediaType,omitempty"`
	// Mode has an executable bit if and only if Executable is set.
	Mode Mode `json:"mode,omitzero"`
}

// Link is a symbolic link. Target is relative to the folder of the link, and does not
// lead out of the package, through whatever other links.
type Link struct {
	Path   string `json:"path"`
	Target string `json:"target"`
}

// Folder is a folder that is empty or whose mode is recorded.
type Folder struct {
	Path string `json:"path"`
	Mode Mode   `json:"mode,omitzero"`
}

type wireManifest struct {
	SchemaVersion int               `cbor:"schemaVersion"`
	Producer      string            `cbor:"producer"`
	Name          string            `cbor:"name"`
	Version       string            `cbor:"version"`
	MediaType     string            `cbor:"mediaType,omitempty"`
	Annotations   map[string]string `cbor:"annotations,omitempty"`
	Files         []wireFile        `cbor:"files"`
	Links         []wireLink        `cbor:"links,omitempty"`
	Folders       []wireFolder      `cbor:"folders,omitempty"`
}

type wireFile struct {
	Path       string `cbor:"path"`
	Size       int64  `cbor:"size"`
	SHA256     []byte `cbor:"sha256"`
	BLAKE3     []byte `cbor:"blake3"`
	Executable bool   `cbor:"executable,omitempty"`
	MediaType  string `cbor:"mediaType,omitempty"`
	Mode       *int64 `cbor:"mode,omitempty"`
}

// Encode sorts the lists of m by path and returns the only encoding of m. Errors are
// *InvalidError. It checks paths, sizes and digests; the registry checks names and
// media types. It takes no more memory than its result, and some per file for the
// check of their paths.
func Encode(m *Manifest) ([]byte, error) {
	m.sort()
	if err := m.validate(); err != nil {
		return nil, err
	}
	frame, at, err := m.encodeFrame()
	if err != nil {
		return nil, err
	}
	size := len(frame) - 1 + headSize(int64(len(m.Files))) + m.extrasSize()
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
		item = wireFile{f.Path, f.Size, append(item.SHA256[:0], sha[:]...), append(item.BLAKE3[:0], b3[:]...), f.Executable, f.MediaType, f.Mode.wire()}
		if err := canonical.MarshalTo(data, &item); err != nil {
			return nil, fmt.Errorf("encoding the manifest: %w", err)
		}
	}
	if err := m.encodeExtras(data); err != nil {
		return nil, fmt.Errorf("encoding the manifest: %w", err)
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
	return size + f.Mode.encodedSize()
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
// of them is, of one byte. The extras follow that list.
func (m *Manifest) encodeFrame() (frame []byte, at int, err error) {
	frame, err = canonical.Marshal(wireManifest{
		SchemaVersion: m.schemaVersion(), Producer: m.Producer, Name: m.Name, Version: m.Version,
		MediaType: m.MediaType, Annotations: m.Annotations, Files: []wireFile{},
	})
	if err != nil {
		return nil, 0, fmt.Errorf("encoding the manifest: %w", err)
	}
	for _, extras := range []int{len(m.Links), len(m.Folders)} {
		if extras > 0 {
			frame[0]++ // a map of fewer than 23 pairs: one more
		}
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
	if version, err := VersionOf(data); err == nil && version > SchemaVersion {
		return nil, unknownVersion(version)
	}
	var wire wireManifest
	if err := canonical.Unmarshal(data, &wire); err != nil {
		return nil, invalid("manifest", "%v", err)
	}
	if wire.SchemaVersion < 1 || wire.SchemaVersion > SchemaVersion {
		return nil, unknownVersion(wire.SchemaVersion)
	}
	m := &Manifest{
		Producer: wire.Producer, Name: wire.Name, Version: wire.Version,
		MediaType: wire.MediaType, Annotations: wire.Annotations, Files: make([]File, len(wire.Files)),
	}
	for i, f := range wire.Files {
		file, err := f.file(i)
		if err != nil {
			return nil, err
		}
		m.Files[i] = file
	}
	if err := m.decodeExtras(wire); err != nil {
		return nil, err
	}
	// Detects canonical CBOR that Encode would not produce: files out of order, an
	// optional field that is present but empty.
	again, err := Encode(m)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, data) {
		return nil, invalid("manifest", "is not the canonical encoding of its content (files out of order, an empty optional field, or another schema version than it needs)")
	}
	return m, nil
}

func unknownVersion(version int) error {
	return invalid("manifest.schemaVersion", "must be 1 to %d, is %d", SchemaVersion, version)
}

// file is the file that was encoded as number i.
func (f *wireFile) file(i int) (File, error) {
	sha, err := digest.FromBytes(digest.SHA256, f.SHA256)
	if err != nil {
		return File{}, invalid(fmt.Sprintf("manifest.files[%d].sha256", i), "%v", err)
	}
	b3, err := digest.FromBytes(digest.BLAKE3, f.BLAKE3)
	if err != nil {
		return File{}, invalid(fmt.Sprintf("manifest.files[%d].blake3", i), "%v", err)
	}
	mode, err := modeOf(f.Mode, fmt.Sprintf("manifest.files[%d].mode", i))
	return File{f.Path, f.Size, digest.Dual{SHA256: sha, BLAKE3: b3}, f.Executable, f.MediaType, mode}, err
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

func (m *Manifest) sort() {
	slices.SortFunc(m.Files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	slices.SortFunc(m.Links, func(a, b Link) int { return strings.Compare(a.Path, b.Path) })
	slices.SortFunc(m.Folders, func(a, b Folder) int { return strings.Compare(a.Path, b.Path) })
}

func (m *Manifest) validate() error {
	if n, extras := len(m.Files), len(m.Links)+len(m.Folders); n+extras > MaxFiles {
		if extras == 0 {
			return invalid("files", "must be at most %d, are %d", MaxFiles, n)
		}
		return invalid("files", "must be at most %d together with links and folders, are %d", MaxFiles, n+extras)
	}
	for i := range m.Files {
		f := &m.Files[i]
		if err := ValidatePath(f.Path); err != nil {
			return invalid(fmt.Sprintf("files[%d].path", i), "%s", err.(*InvalidError).Message)
		}
		if f.Size < 0 || f.Size > MaxFileSize {
			return invalid(fmt.Sprintf("files[%d].size", i), "must be 0 to %d bytes, is %d", int64(MaxFileSize), f.Size)
		}
		if f.Digests.SHA256.Algorithm() != digest.SHA256 || f.Digests.BLAKE3.Algorithm() != digest.BLAKE3 {
			return invalid(fmt.Sprintf("files[%d].digests", i), "must have a sha256 and a blake3")
		}
		if f.Mode.Recorded() && f.Mode.Executable() != f.Executable {
			return invalid(fmt.Sprintf("files[%d].mode", i), "of %q is %s, and executable is %t", f.Path, f.Mode, f.Executable)
		}
	}
	if err := m.validateExtras(); err != nil {
		return err
	}
	return m.checkTree()
}
