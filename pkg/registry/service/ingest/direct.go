package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/service/ingest/rules"
	"github.com/coulomb/artifact-store/pkg/registry/service/ingest/window"
	"github.com/coulomb/artifact-store/pkg/registry/view"
	"github.com/coulomb/artifact-store/pkg/shares"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// PublishFiles implements registry.Bundles. There is no session: nothing is recorded
// before the events. A removal of blobs that are on their way is met by the protocol of
// package removal, which needs no session either.
func (in *Intake) PublishFiles(ctx context.Context, req registry.OpenUpload, want digest.Digest, next func() (registry.NamedContent, error)) (registry.Publication, error) {
	session, err := in.newSession(ctx, req)
	if err != nil {
		return registry.Publication{}, err
	}
	if texts := textsOf(req); texts > registry.MaxTextsAtOnce {
		return registry.Publication{}, registry.Invalid("annotations", "must have at most %d bytes in one request, have %d: more need an upload session", registry.MaxTextsAtOnce, texts)
	}
	b := in.windows.Fill(ctx, in.WindowTick, nil)
	defer b.End(nil) //nolint:errcheck // it only gives the window back
	var counted atOnce
	for {
		file, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = checkBundled(file)
		}
		if err == nil {
			err = counted.add(file)
		}
		if err == nil {
			err = b.Add(file)
		}
		if err != nil {
			return registry.Publication{}, err
		}
	}
	files, err := b.Take()
	if err != nil {
		return registry.Publication{}, err
	}
	// These bytes are here: storing them does not hurry the source.
	ctx, cancel := context.WithTimeoutCause(shares.WithSource(ctx, nil), atOnceTime, errAtOnceTime)
	defer cancel()
	d := &draft{session: session, claim: claim{digest: want}}
	defer d.release()
	contents, err := in.fill(ctx, d, files)
	if err != nil {
		return registry.Publication{}, err
	}
	return in.untilSettled(ctx, func() (registry.Publication, error) { return in.publishContents(ctx, d, contents) })
}

// atOnceTime is how long storing and publishing a package may take that is here: its
// memory is needed, and nothing tells a sweep of it, whose rows live for a day.
const atOnceTime = time.Hour

var errAtOnceTime = fmt.Errorf("storing a package that is sent at once may take %s", atOnceTime)

// atOnce counts the files of a package that is sent by one request.
type atOnce struct {
	files int
	bytes int64
}

// add refuses a file with which it would be too much.
func (a *atOnce) add(file registry.NamedContent) error {
	if file.Size == storage.UnknownSize {
		return registry.Invalid("size", "of %q must be known", file.Path)
	}
	if a.files++; a.files > registry.MaxFilesAtOnce {
		return registry.Invalid("files", "must be at most %d in one request: more need an upload session", registry.MaxFilesAtOnce)
	}
	if a.bytes += file.Size; a.bytes > registry.MaxBytesAtOnce {
		return registry.Invalid("files", "must have at most %d bytes in one request: more need an upload session", registry.MaxBytesAtOnce)
	}
	return nil
}

// content is one blob of a package, and its bytes.
type content struct {
	digests digest.Dual
	bytes   []byte
	files   int // that have it
}

// fill makes the draft of a package whose files are here. It returns their contents,
// each once.
func (in *Intake) fill(ctx context.Context, d *draft, files []window.File) ([]content, error) {
	if len(files) == 0 {
		return nil, errNoFiles()
	}
	var (
		contents []content
		declared = make([]registry.FileDeclaration, len(files))
		seen     = make(map[digest.Digest]int, len(files))
		got      = rows{files: make([]manifest.File, len(files))}
		texts    int64
	)
	for i, file := range files {
		size, digests := file.Size, digest.Of(file.Bytes)
		if err := (storage.Source{Want: file.Digests, Size: size}).Check(digests, size); err != nil {
			return nil, fmt.Errorf("%q: %w", file.Path, err)
		}
		declared[i] = registry.FileDeclaration{Path: file.Path, Size: &size, Digests: digests}
		got.files[i] = manifest.File{Path: file.Path, Size: size, Digests: digests, Executable: file.Executable}
		texts += int64(len(file.Path))
		at, known := seen[digests.SHA256]
		if !known {
			at = len(contents)
			seen[digests.SHA256], contents = at, append(contents, content{digests, file.Bytes, 0})
		}
		contents[at].files++
	}
	if _, err := rules.Declarations(declared); err != nil {
		return nil, err
	}
	weight := draftTimes * (texts + int64(len(files))*draftFile)
	var err error
	if d.weight, err = in.weighs(weight).Take(ctx, weight); err != nil {
		return nil, err
	}
	d.files = len(files)
	if err := in.encode(ctx, d, "", got); err != nil {
		return nil, err
	}
	d.contents = []digest.Digest{d.digest}
	for _, c := range contents {
		d.contents = append(d.contents, c.digests.SHA256)
	}
	return contents, d.claim.check(d)
}

// publishContents is publish for a package without a session: it stores the contents,
// unless the placement has them, and the manifest, and appends the events.
func (in *Intake) publishContents(ctx context.Context, d *draft, contents []content) (registry.Publication, error) {
	store, err := in.writable(d.session.BackendID, d.session.BackendName)
	if err != nil {
		return registry.Publication{}, err
	}
	var (
		held map[digest.Digest]bool
		own  map[digest.Digest]view.Reusable
	)
	if err := in.core.ReadSmall(ctx, func(tx database.Tx) error {
		odd, err := oddsAndHeld(ctx, tx, d)
		if err == nil && odd&oddTaken != 0 { // told before anything is stored
			_, err = findTaken(ctx, tx, d)
		}
		if err == nil && odd&oddHeld != 0 {
			held, err = soundIn(ctx, tx, d.session.BackendID, d.contents)
		}
		if err == nil && len(held) > 0 { // a stranger must not learn what others have stored
			own, err = view.FindReusable(ctx, tx, d.session.Producer, slices.Collect(maps.Keys(held)))
		}
		return err
	}); err != nil {
		return registry.Publication{}, err
	}
	stored := make([]storage.Info, len(contents))
	group, putting := errgroup.WithContext(ctx)
	group.SetLimit(windowConcurrency)
	group.Go(func() error { return in.putManifest(putting, store, d) })
	put := func(i int, c content) (err error) {
		src := storage.Source{Reader: bytes.NewReader(c.bytes), Size: int64(len(c.bytes)), Want: c.digests, Tier: d.session.Tier, Held: held[c.digests.SHA256]}
		if stored[i], err = in.put(putting, store, src); err != nil {
			err = fmt.Errorf("storing %s in %s: %w", c.digests.SHA256, d.session.BackendName, err)
		}
		return err
	}
	for i, c := range contents[1:] {
		group.Go(func() error { return put(i+1, c) })
	}
	first := put(0, contents[0]) // here: a fresh goroutine's stack grows several times under a driver's calls
	if err := group.Wait(); err != nil || first != nil {
		return registry.Publication{}, errors.Join(first, err)
	}
	d.held = nil
	var reused registry.Publication
	for i, info := range stored {
		c := contents[i]
		if info.Held {
			d.held = append(d.held, c.digests.SHA256)
		}
		again := c.files - 1 // further files with the same bytes
		if _, is := own[c.digests.SHA256]; is {
			again = c.files
		}
		reused.ReusedFiles += again
		reused.ReusedBytes += int64(again) * int64(len(c.bytes))
	}
	publication, err := in.seal(ctx, d, nil)
	publication.ReusedFiles, publication.ReusedBytes = reused.ReusedFiles, reused.ReusedBytes
	return publication, err
}
