package registrytest

import (
	"crypto/rand"
	"io"
	"strings"
	"testing/iotest"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/storage"
)

var contentCases = []testCase{
	{"bytes that are not what was declared", mismatches},
	{"a source that breaks off", brokenSource},
	{"ranges", ranges},
	{"a large file", largeFile},
	{"not found", notFound},
}

// nothingStored fails if the session has bytes for a, or the log a word about it.
func (s suite) nothingStored(id string, head uint64) {
	s.Helper()
	equal(s, "head", s.head(), head)
	_, err := s.r.Publish(s.ctx, id, nil)
	s.is(err, registry.ErrIncomplete)
}

func mismatches(s suite) {
	upload := s.open(version("1"))
	s.declare(upload.ID, []file{{"a", "right", false}})
	head := s.head()
	other := digest.Of([]byte("other"))
	for name, sent := range map[string]registry.Content{
		"other bytes":         {Reader: strings.NewReader("wrong"), Size: 5},
		"other bytes, chunks": {Reader: onlyReader{strings.NewReader("wrong")}, Size: storage.UnknownSize},
		"too many, chunks":    {Reader: strings.NewReader("right and more"), Size: storage.UnknownSize},
		"too few, chunks":     {Reader: strings.NewReader("righ"), Size: storage.UnknownSize},
		"reader too long":     {Reader: strings.NewReader("right and more"), Size: 5},
		"reader too short":    {Reader: strings.NewReader("righ"), Size: 5},
	} {
		if _, err := s.r.PutFile(s.ctx, upload.ID, "a", sent); err == nil {
			s.Fatalf("%s: was taken", name)
		} else if s.is(err, storage.ErrMismatch); s.Failed() {
			s.Fatal(name)
		}
	}
	_, err := s.r.PutFile(s.ctx, upload.ID, "a", registry.Content{Reader: strings.NewReader("other"), Size: 5, Digests: other})
	s.invalid(err, "digests.sha256")
	_, err = s.r.PutFile(s.ctx, upload.ID, "a", registry.Content{Reader: strings.NewReader("other!"), Size: 6})
	s.invalid(err, "size")
	s.nothingStored(upload.ID, head)

	// A digest that only this request declares.
	for name, want := range map[string]digest.Dual{"sha256": {SHA256: other.SHA256}, "blake3": {BLAKE3: other.BLAKE3}} {
		_, err := s.r.PutFile(s.ctx, upload.ID, "undeclared-"+name, registry.Content{Reader: strings.NewReader("wrong"), Size: 5, Digests: want})
		s.is(err, storage.ErrMismatch)
	}
	s.put(upload.ID, "a", "right")
}

func brokenSource(s suite) {
	upload := s.open(version("1"))
	s.declare(upload.ID, []file{{"a", "right", false}})
	head := s.head()
	for _, size := range []int64{5, storage.UnknownSize} {
		_, err := s.r.PutFile(s.ctx, upload.ID, "a", registry.Content{Reader: breaking("rig"), Size: size})
		s.is(err, storage.ErrSource)
		s.is(err, errBroken)
	}
	s.nothingStored(upload.ID, head)
	s.put(upload.ID, "a", "right")
}

func ranges(s suite) {
	s.push(version("1"), file{"a", "0123456789", false}, file{"empty", "", false})
	name := digest.Of([]byte("0123456789")).SHA256
	for want, rng := range map[string]storage.Range{"0": {Offset: 0, Length: 1}, "345": {Offset: 3, Length: 3}, "9": {Offset: 9, Length: 1}, "0123456789": {Offset: 0, Length: 10}, "": {Offset: 10, Length: 0}} {
		body, info, err := s.r.OpenBlob(s.ctx, name, &rng)
		s.must(err)
		data, err := io.ReadAll(body)
		s.must(err)
		s.must(body.Close())
		equal(s, "part", string(data), want)
		equal(s, "info", info, registry.BlobInfo{Digests: digest.Of([]byte("0123456789")), Size: 10})
		body, byPath, err := s.r.OpenFile(s.ctx, version("1").PackageRef, "a", &rng)
		s.must(err)
		data, err = io.ReadAll(body)
		s.must(err)
		s.must(body.Close())
		equal(s, "part by path", string(data), want)
		equal(s, "info by path", byPath, info)
	}
	for _, rng := range []storage.Range{{Offset: 10, Length: 1}, {Offset: 9, Length: 2}, {Offset: 11, Length: 0}, {Offset: -1, Length: 1}, {Offset: 0, Length: -1}, {Offset: 1 << 62, Length: 1 << 62}} {
		body, _, err := s.r.OpenBlob(s.ctx, name, &rng)
		if err == nil {
			body.Close() //nolint:errcheck // it is an error that it is open
		}
		s.is(err, storage.ErrRange)
		body, _, err = s.r.OpenFile(s.ctx, version("1").PackageRef, "a", &rng)
		if err == nil {
			body.Close() //nolint:errcheck // it is an error that it is open
		}
		s.is(err, storage.ErrRange)
	}
	equal(s, "empty", s.read(digest.Of(nil).SHA256, &storage.Range{}), "")
	_, _, err := s.r.OpenBlob(s.ctx, digest.Of(nil).SHA256, &storage.Range{Length: 1})
	s.is(err, storage.ErrRange)
}

// largeFile is one that no buffer on the way holds whole.
func largeFile(s suite) {
	data := make([]byte, 24<<20+1)
	rand.Read(data) //nolint:errcheck // never fails
	text := string(data)
	upload := s.open(version("1"))
	known := content(text)
	known.Reader = iotest.DataErrReader(known.Reader) // as a network gives its last bytes: with the EOF
	_, err := s.r.PutFile(s.ctx, upload.ID, "known", known)
	s.must(err)
	_, err = s.r.PutFile(s.ctx, upload.ID, "unknown", registry.Content{Reader: iotest.DataErrReader(strings.NewReader(text[1:])), Size: storage.UnknownSize})
	s.must(err)
	_, err = s.r.Publish(s.ctx, upload.ID, nil)
	s.must(err)
	if s.read(digest.Of(data).SHA256, nil) != text || s.read(digest.Of(data[1:]).BLAKE3, nil) != text[1:] {
		s.Fatal("other bytes came back")
	}
	equal(s, "a part", s.read(digest.Of(data).SHA256, &storage.Range{Offset: 5 << 20, Length: 9 << 20}), text[5<<20:14<<20])
}

func notFound(s suite) {
	s.push(version("1"), file{"a", "a", false})
	absent := digest.Of([]byte("absent"))
	_, err := s.r.GetUpload(s.ctx, "00000000-0000-0000-0000-000000000000")
	s.is(err, registry.ErrNotFound)
	_, err = s.r.GetUpload(s.ctx, "../packages")
	s.is(err, registry.ErrNotFound)
	_, err = s.r.GetPackage(s.ctx, version("2").PackageRef)
	s.is(err, registry.ErrNotFound)
	_, err = s.r.GetManifest(s.ctx, absent.SHA256)
	s.is(err, registry.ErrNotFound)
	_, err = s.r.GetManifest(s.ctx, digest.Of([]byte("a")).SHA256) // a blob, and no manifest
	s.is(err, registry.ErrNotFound)
	for _, name := range []digest.Digest{absent.SHA256, digest.Of([]byte("a")).SHA256} {
		_, err = s.r.HeadManifest(s.ctx, name)
		s.is(err, registry.ErrNotFound)
		_, _, err = s.r.OpenManifest(s.ctx, name, nil)
		s.is(err, registry.ErrNotFound)
	}
	for _, name := range []digest.Digest{absent.SHA256, absent.BLAKE3} {
		_, err = s.r.HeadBlob(s.ctx, name)
		s.is(err, registry.ErrNotFound)
		_, _, err = s.r.OpenBlob(s.ctx, name, nil)
		s.is(err, registry.ErrNotFound)
		_, _, err = s.r.OpenBlob(s.ctx, name, &storage.Range{Length: 1})
		s.is(err, registry.ErrNotFound)
	}
	_, err = s.r.FindFile(s.ctx, version("1").PackageRef, "b")
	s.is(err, registry.ErrNotFound)
	_, err = s.r.FindFile(s.ctx, version("2").PackageRef, "a")
	s.is(err, registry.ErrNotFound)
	_, _, err = s.r.OpenFile(s.ctx, version("1").PackageRef, "b", nil)
	s.is(err, registry.ErrNotFound)
	_, _, err = s.r.OpenFile(s.ctx, version("2").PackageRef, "a", nil)
	s.is(err, registry.ErrNotFound)
	for _, name := range []string{"third", "a/b", "..", ""} {
		_, err = s.r.GetBackend(s.ctx, name)
		s.is(err, registry.ErrNotFound)
		_, err = s.r.VerifyBackend(s.ctx, name, registry.VerifyOptions{}, nil)
		s.is(err, registry.ErrNotFound)
	}
}
