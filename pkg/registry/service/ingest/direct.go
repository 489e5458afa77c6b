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
	"github.com/coulomb/artifact-store/pkg/registry/service/ingest/atonce"
	"github.com/coulomb/artifact-store/pkg/registry/service/ingest/rules"
	"github.com/coulomb/artifact-store/pkg/registry/service/ingest/window"
	"github.com/coulomb/artifact-store/pkg/registry/view"
	"github.com/coulomb/artifact-store/pkg/shares"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// PublishFiles implements registry.Bundles. There is no session: nothing is recorded
// before the events. A removal of blobs that are on their way is met by the protocol of
// package removal, which needs no session either.
func (in *Intake) PublishFiles(ctx context.Context, req registry.OpenUpload, sent registry.SentManifest, next func() (registry.NamedContent, error)) (registry.Publication, error) {
	session, err := in.newSession(ctx, req)
	if err != nil {
		return registry.Publication{}, err
	}
	if texts := textsOf(req); texts > registry.MaxTextsAtOnce {
		return registry.Publication{}, registry.Invalid("annotations", "must have at most %d bytes in one request, have %d: more need an upload session", registry.MaxTextsAtOnce, texts)
	}
	b := in.windows.Fill(ctx, in.WindowTick, nil)
	defer b.End(nil) //nolint:errcheck // it only gives the window back
	if err := addAll(b, sent, next); err != nil {
		return registry.Publication{}, err
	}
	files, err := b.Take()
	if err != nil {
		return registry.Publication{}, err
	}
	// These bytes are here: storing them does not hurry the source.
	ctx, cancel := context.WithTimeoutCause(shares.WithSource(ctx, nil), atOnceTime, errAtOnceTime)
	defer cancel()
	d := &draft{session: session, claim: rules.Claim{Digest: sent.Digest}}
	defer d.release()
	p, err := in.fill(ctx, d, sent.Reader != nil, files)
	if err != nil {
		return registry.Publication{}, err
	}
	again := false
	return in.untilSettled(ctx, func() (registry.Publication, error) {
		defer func() { again = true }()
		return in.publishParts(ctx, d, p, again)
	})
}

// fill makes the draft of a package of files that are here; the first of them is the
// manifest, if it was sent.
func (in *Intake) fill(ctx context.Context, d *draft, byManifest bool, files []window.File) (p atonce.Package, err error) {
	if len(files) == 0 {
		return p, errNoFiles()
	}
	size := int64(len(files)) * draftFile
	for _, file := range files {
		size += int64(len(file.Path))
	}
	if byManifest {
		size = parsedTimes * int64(len(files[0].Bytes))
	}
	if d.weight, err = in.weighs(draftTimes*size).Take(ctx, draftTimes*size); err != nil {
		return p, err
	}
	if byManifest {
		encoded := files[0].Bytes
		if sum := manifest.Digest(encoded); !d.claim.Digest.IsZero() && sum != d.claim.Digest {
			return p, registry.Invalid("manifestDigest", "is %s, that of the manifest is %s", d.claim.Digest, sum)
		}
		d.claim.Bytes = encoded
		p, err = atonce.Some(encoded, files[1:])
	} else {
		p, err = atonce.Whole(files)
	}
	if err != nil {
		return p, err
	}
	d.files, d.extras = len(p.Files), p.Extras
	if err := in.encode(ctx, d, "", rows{files: p.Files}); err != nil {
		return p, err
	}
	p.Files, p.Extras = nil, rules.Extras{}
	d.contents = []digest.Digest{d.digest}
	for _, c := range p.Sent {
		d.contents = append(d.contents, c.Digests.SHA256)
	}
	return p, d.claim.Check(d.encoded, d.digest, d.inSession())
}

// addAll reads the manifest, if it is sent, and the files into the window.
func addAll(b *window.Filling, sent registry.SentManifest, next func() (registry.NamedContent, error)) error {
	if sent.Reader != nil {
		if err := atonce.CheckManifest(sent.Size); err != nil {
			return err
		}
		if err := b.Add(registry.NamedContent{Path: "manifest", Content: registry.Content{Reader: sent.Reader, Size: sent.Size}}); err != nil {
			return err
		}
	}
	var counted atonce.Counter
	for {
		file, err := next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = rules.Named(file)
		}
		if err == nil {
			err = counted.Add(file)
		}
		if err == nil {
			err = b.Add(file)
		}
		if err != nil {
			return err
		}
	}
}

// atOnceTime is how long storing and publishing a package may take that is here: its
// memory is needed, and nothing tells a sweep of it, whose rows live for a day.
const atOnceTime = time.Hour

var errAtOnceTime = fmt.Errorf("storing a package that is sent at once may take %s", atOnceTime)

// publishParts is publish for a package without a session: it stores what was sent,
// unless the placement has it, and the manifest, and appends the events.
func (in *Intake) publishParts(ctx context.Context, d *draft, p atonce.Package, again bool) (registry.Publication, error) {
	store, err := in.writable(d.session.BackendID, d.session.BackendName)
	if err != nil {
		return registry.Publication{}, err
	}
	var (
		held map[digest.Digest]bool
		own  map[digest.Digest]view.Reusable
	)
	read := in.core.ReadSmall
	if len(p.Rest) > fewFiles {
		read = in.core.Read
	}
	if err := read(ctx, func(tx database.Tx) error {
		odd, err := oddsAndHeld(ctx, tx, d)
		if err == nil && odd&oddTaken != 0 { // told before anything is stored
			_, err = findTaken(ctx, tx, d)
		} else if err == nil {
			err = rules.NewVersion(d.ref(), odd&oddTagged != 0)
		}
		if err == nil && odd&oddHeld != 0 {
			held, err = soundIn(ctx, tx, d.session.BackendID, d.contents)
		}
		if err == nil && len(held) > 0 { // a stranger must not learn what others have stored
			own, err = view.FindReusable(ctx, tx, d.session.Producer, slices.Collect(maps.Keys(held)))
		}
		if err == nil && len(p.Rest) > 0 {
			d.here, err = in.findRest(ctx, tx, d, p.Rest, again)
		}
		return err
	}); err != nil {
		return registry.Publication{}, err
	}
	stored := make([]storage.Info, len(p.Sent))
	group, putting := errgroup.WithContext(ctx)
	group.SetLimit(windowConcurrency)
	group.Go(func() error { return in.putManifest(putting, store, d) })
	put := func(i int, c atonce.Content) (err error) {
		src := storage.Source{Reader: bytes.NewReader(c.Bytes), Size: int64(len(c.Bytes)), Want: c.Digests, Tier: d.session.Tier, Held: held[c.Digests.SHA256]}
		if stored[i], err = in.put(putting, store, src); err != nil {
			err = fmt.Errorf("storing %s in %s: %w", c.Digests.SHA256, d.session.BackendName, err)
		}
		return err
	}
	var first error
	for i, c := range p.Sent {
		if i > 0 {
			group.Go(func() error { return put(i, c) })
		}
	}
	if len(p.Sent) > 0 {
		first = put(0, p.Sent[0]) // here: a fresh goroutine's stack grows several times under a driver's calls
	}
	if err := group.Wait(); err != nil || first != nil {
		return registry.Publication{}, errors.Join(first, err)
	}
	d.held = nil
	reusedFiles, reusedBytes := d.files, d.bytes
	for i, info := range stored {
		c := p.Sent[i]
		if info.Held {
			d.held = append(d.held, c.Digests.SHA256)
		}
		if _, is := own[c.Digests.SHA256]; !is { // further files with the same bytes are reused
			reusedFiles--
			reusedBytes -= int64(len(c.Bytes))
		}
	}
	publication, err := in.seal(ctx, d, nil)
	publication.ReusedFiles, publication.ReusedBytes = reusedFiles, reusedBytes
	return publication, err
}

// findRest returns the contents of what was not sent. An *registry.IncompleteError names
// what the producer has not published. Whether the placement has the others is decided
// under the head's lock; strict looks at that as well, since it was not so.
func (in *Intake) findRest(ctx context.Context, tx database.Tx, d *draft, rest []manifest.File, strict bool) ([]digest.Digest, error) {
	contents := make([]digest.Digest, len(rest))
	for i, f := range rest {
		contents[i] = f.Digests.SHA256
	}
	own, err := view.FindOwn(ctx, tx, d.session.Producer, contents)
	if err != nil {
		return nil, err
	}
	var sound map[digest.Digest]bool
	if strict {
		if sound, err = soundIn(ctx, tx, d.session.BackendID, contents); err != nil {
			return nil, err
		}
	}
	return contents, atonce.CheckRest(rest, d.files, func(f manifest.File) (bool, error) {
		b, is := own[f.Digests.SHA256]
		if is && (b.Digests != f.Digests || b.Size != f.Size) {
			return false, registry.Invalid("manifest", "has %q with %d bytes and %s; the blob has %d bytes and %s", f.Path, f.Size, f.Digests, b.Size, b.Digests)
		}
		return is && (!strict || sound[f.Digests.SHA256]), nil
	})
}
