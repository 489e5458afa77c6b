package registrytest

import (
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/storage"
)

var resumeCases = []testCase{
	{"a file in pieces", pieces},
	{"pieces that break off", brokenPieces},
	{"pieces that do not match", wrongPieces},
	{"a length that changes", changingLength},
	{"a piece with digests of its own", digestedPiece},
	{"a publish before the end", publishedTooEarly},
}

func part(text string) registry.Content {
	return registry.Content{Reader: strings.NewReader(text), Size: int64(len(text))}
}

func piece(offset int64, complete bool, content registry.Content) registry.Piece {
	return registry.Piece{Content: content, Offset: offset, Complete: complete, Length: storage.UnknownSize}
}

func pieces(s suite) {
	upload := s.open(version("1"))
	_, err := s.r.FileProgress(s.ctx, upload.ID, "a")
	s.is(err, registry.ErrNotFound)
	s.declare(upload.ID, []file{{"a", "0123456789", true}})
	offset := int64(0)
	for _, text := range []string{"012", "3456"} {
		progress, err := s.r.AppendFile(s.ctx, upload.ID, "a", piece(offset, false, part(text)))
		s.must(err)
		offset += int64(len(text))
		equal(s, "offset", progress.Offset, offset)
		equal(s, "complete", progress.Complete, false)
	}
	_, err = s.r.AppendFile(s.ctx, upload.ID, "a", piece(3, false, part("x")))
	var misplaced *registry.OffsetError
	if !errors.As(err, &misplaced) || misplaced.Want != 7 || misplaced.Got != 3 {
		s.Fatalf("got %v, want an OffsetError of 7 and 3", err)
	}
	last := part("789")
	last.Digests = digest.Of([]byte("0123456789"))
	progress, err := s.r.AppendFile(s.ctx, upload.ID, "a", piece(offset, true, last))
	s.must(err)
	equal(s, "offset", progress.Offset, 10)
	equal(s, "complete", progress.Complete, true)
	got, err := s.r.FileProgress(s.ctx, upload.ID, "a")
	s.must(err)
	if got.Offset != 10 || !got.Complete || got.Size == nil || *got.Size != 10 || got.Digests != last.Digests {
		s.Fatalf("got %+v, want it complete", got)
	}
	_, err = s.r.Publish(s.ctx, upload.ID, nil)
	s.must(err)
	equal(s, "read back", s.read(last.Digests.SHA256, nil), "0123456789")
	info, err := s.r.FindFile(s.ctx, version("1").PackageRef, "a")
	s.must(err)
	equal(s, "executable", info.Executable, true)
}

func brokenPieces(s suite) {
	text := strings.Repeat("0123456789", 100_000) // more than waits in buffers on the way
	upload := s.open(version("1"))
	_, err := s.r.AppendFile(s.ctx, upload.ID, "a", piece(0, true, registry.Content{Reader: breaking(text), Size: storage.UnknownSize}))
	s.is(err, storage.ErrSource)
	// Over a network the source knows that it broke before the registry does,
	// and the last of what it gave does not arrive.
	var progress registry.FileProgress
	for deadline := time.Now().Add(20 * time.Second); progress.Offset == 0; {
		if progress, err = s.r.FileProgress(s.ctx, upload.ID, "a"); time.Now().After(deadline) {
			s.Fatalf("got %+v, %v, want what came before the break", progress, err)
		}
	}
	equal(s, "complete", progress.Complete, false)
	rest := io.LimitReader(strings.NewReader(text[progress.Offset:]), int64(len(text)))
	progress, err = s.r.AppendFile(s.ctx, upload.ID, "a", piece(progress.Offset, true, registry.Content{Reader: rest, Size: storage.UnknownSize}))
	s.must(err)
	equal(s, "complete", progress.Complete, true)
	equal(s, "offset", progress.Offset, int64(len(text)))
	_, err = s.r.Publish(s.ctx, upload.ID, nil)
	s.must(err)
	equal(s, "read back", s.read(digest.Of([]byte(text)).SHA256, nil) == text, true)
}

func wrongPieces(s suite) {
	upload := s.open(version("1"))
	s.declare(upload.ID, []file{{"a", "right", false}})
	head := s.head()
	_, err := s.r.AppendFile(s.ctx, upload.ID, "a", piece(0, false, part("wro")))
	s.must(err)
	_, err = s.r.AppendFile(s.ctx, upload.ID, "a", piece(3, true, part("ng")))
	s.is(err, storage.ErrMismatch)
	s.nothingStored(upload.ID, head)
	progress, err := s.r.FileProgress(s.ctx, upload.ID, "a")
	s.must(err)
	equal(s, "what did not match is dropped: offset", progress.Offset, 0)
	_, err = s.r.AppendFile(s.ctx, upload.ID, "a", piece(0, false, part("right and more")))
	s.invalid(err, "size")
	_, err = s.r.AppendFile(s.ctx, upload.ID, "../a", piece(0, true, part("right")))
	s.invalid(err, "path")
	_, err = s.r.AppendFile(s.ctx, upload.ID, "a", piece(0, true, part("right")))
	s.must(err)
	_, err = s.r.Publish(s.ctx, upload.ID, nil)
	s.must(err)
}

func changingLength(s suite) {
	upload := s.open(version("1"))
	first := piece(0, false, part("012"))
	first.Length = 5
	_, err := s.r.AppendFile(s.ctx, upload.ID, "a", first)
	s.must(err)
	progress, err := s.r.FileProgress(s.ctx, upload.ID, "a")
	s.must(err)
	if progress.Size == nil || *progress.Size != 5 {
		s.Fatalf("got %+v, want the size 5 that was given", progress)
	}
	for _, wrong := range []registry.Piece{
		piece(3, true, part("3")),
		piece(3, true, part("345")),
		{Content: part("34"), Offset: 3, Complete: true, Length: 6},
		{Content: part("3"), Offset: 3, Length: 6},
	} {
		_, err := s.r.AppendFile(s.ctx, upload.ID, "a", wrong)
		if !errors.Is(err, registry.ErrInvalid) {
			s.Fatalf("got %v, want a length refused", err)
		}
	}
	_, err = s.r.AppendFile(s.ctx, upload.ID, "a", registry.Piece{Content: part("34"), Offset: 3, Complete: true, Length: 5})
	s.must(err)
	_, err = s.r.Publish(s.ctx, upload.ID, nil)
	s.must(err)
	equal(s, "read back", s.read(digest.Of([]byte("01234")).SHA256, nil), "01234")
}

func digestedPiece(s suite) {
	upload := s.open(version("1"))
	_, err := s.r.AppendFile(s.ctx, upload.ID, "a", piece(0, false, part("012")))
	s.must(err)
	next := piece(3, true, part("34"))
	next.ContentDigests = digest.Of([]byte("35"))
	_, err = s.r.AppendFile(s.ctx, upload.ID, "a", next)
	if !errors.Is(err, registry.ErrInvalid) {
		s.Fatalf("got %v, want the digest of the piece refused", err)
	}
	progress, err := s.r.FileProgress(s.ctx, upload.ID, "a")
	s.must(err)
	equal(s, "offset", progress.Offset, 3)
	next.Content, next.ContentDigests = part("34"), digest.Of([]byte("34"))
	_, err = s.r.AppendFile(s.ctx, upload.ID, "a", next)
	s.must(err)
	_, err = s.r.Publish(s.ctx, upload.ID, nil)
	s.must(err)
	equal(s, "read back", s.read(digest.Of([]byte("01234")).SHA256, nil), "01234")
}

// publishedTooEarly: the answer tells a file of which nothing came from one whose
// bytes are all there and whose end was not said.
func publishedTooEarly(s suite) {
	upload := s.open(version("1"))
	s.declare(upload.ID, []file{{"all", "0123456789", false}, {"half", "abcdefghij", false}, {"nothing", "x", false}, {"there", "y", false}})
	s.put(upload.ID, "there", "y")
	for path, text := range map[string]string{"all": "0123456789", "half": "abc", "unknown": "1234"} {
		_, err := s.r.AppendFile(s.ctx, upload.ID, path, piece(0, false, part(text)))
		s.must(err)
	}
	_, err := s.r.Publish(s.ctx, upload.ID, nil)
	var missing *registry.IncompleteError
	if !errors.As(err, &missing) {
		s.Fatalf("got %v, want an IncompleteError", err)
	}
	equal(s, "missing", missing.Count, 4)
	equal(s, "declared", missing.Files, 5)
	equal(s, "paths", strings.Join(missing.Paths, " "), "all half nothing unknown")
	if want := []registry.PartialFile{{Path: "all", Offset: 10, Size: 10}, {Path: "half", Offset: 3, Size: 10}, {Path: "unknown", Offset: 4, Size: storage.UnknownSize}}; !slices.Equal(missing.Partial, want) {
		s.Fatalf("got %+v, want %+v", missing.Partial, want)
	}
	for _, words := range []string{`4 of 5 declared files`, `all 10 bytes of "all" have arrived`, `3 of 10 bytes of "half"`, `4 bytes of "unknown" have arrived`} {
		if !strings.Contains(err.Error(), words) {
			s.Fatalf("%q does not say %s", err, words)
		}
	}
	_, err = s.r.AppendFile(s.ctx, upload.ID, "all", piece(10, true, part("")))
	s.must(err)
	_, err = s.r.Publish(s.ctx, upload.ID, nil)
	if !errors.As(err, &missing) || missing.Count != 3 {
		s.Fatalf("got %v, want three files missing", err)
	}
}
