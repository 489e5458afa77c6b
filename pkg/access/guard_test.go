package access_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/coulomb/artifact-store/pkg/access"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/registry/registrytest"
)

// rights is an Authorizer that allows what it lists, and can be away.
type rights struct {
	mu      sync.Mutex
	allowed map[access.Action]bool
	away    bool
	asked   []access.Action
}

func allowing(actions ...access.Action) *rights {
	r := &rights{allowed: map[access.Action]bool{}}
	for _, a := range actions {
		r.allowed[a] = true
	}
	return r
}

func (r *rights) Authorize(_ context.Context, who access.Identity, what access.Action) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, what)
	switch {
	case r.allowed[what]:
		return nil
	case r.away:
		return access.ErrUnavailable
	}
	return &access.ForbiddenError{Who: who.Name, What: what}
}

func (r *rights) set(away bool, actions ...access.Action) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.away, r.allowed = away, map[access.Action]bool{}
	for _, a := range actions {
		r.allowed[a] = true
	}
}

// house is a registry with a package of each of two producers, which have one
// file in common, and an open session of the first.
type house struct {
	fixture         registrytest.Fixture
	rights          *rights
	guard           registry.Registry
	ctx             context.Context
	session         string
	mine, theirs    registry.Package
	common          digest.Dual
	onlyMine, other digest.Dual
}

func pkg(producer string) registry.PackageRef {
	return registry.PackageRef{Producer: producer, Name: "n", Version: "1"}
}

func newHouse(t *testing.T) *house {
	t.Helper()
	f := registrytest.OpenService(t, "")
	h := &house{fixture: f, rights: allowing(), common: digest.Of([]byte("common")), onlyMine: digest.Of([]byte("of mine")), other: digest.Of([]byte("of theirs"))}
	h.guard = access.Guard(f.Registry, h.rights, f.Registry.(access.Index))
	h.ctx = access.WithIdentity(context.Background(), access.Identity{Name: "somebody"})
	for _, producer := range []string{"mine", "theirs"} {
		push(t, f.Registry, pkg(producer), "common", "of "+producer)
	}
	var err error
	if h.mine, err = f.Registry.GetPackage(h.ctx, pkg("mine")); err != nil {
		t.Fatal(err)
	}
	if h.theirs, err = f.Registry.GetPackage(h.ctx, pkg("theirs")); err != nil {
		t.Fatal(err)
	}
	h.session = h.open(t)
	return h
}

func (h *house) open(t *testing.T) string {
	t.Helper()
	ref := pkg("mine")
	ref.Version = "2"
	upload, err := h.fixture.Registry.OpenUpload(h.ctx, registry.OpenUpload{PackageRef: ref, RetentionClass: "x"})
	if err != nil {
		t.Fatal(err)
	}
	return upload.ID
}

func tagOf(producer string) registry.TagRef {
	return registry.TagRef{Producer: producer, Name: pkg(producer).Name, Tag: "stable"}
}

// push publishes files with these contents.
func push(t *testing.T, r registry.Registry, ref registry.PackageRef, contents ...string) {
	t.Helper()
	ctx := context.Background()
	upload, err := r.OpenUpload(ctx, registry.OpenUpload{PackageRef: ref, RetentionClass: "x"})
	if err != nil {
		t.Fatal(err)
	}
	for i, text := range contents {
		if _, err := r.PutFile(ctx, upload.ID, fmt.Sprint("f", i), content(text)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Publish(ctx, upload.ID, nil); err != nil {
		t.Fatal(err)
	}
}

func content(text string) registry.Content {
	return registry.Content{Reader: strings.NewReader(text), Size: int64(len(text)), Digests: digest.Of([]byte(text))}
}

// TestGuard calls every method as someone who may do nothing, everything but
// what the method needs, and only that.
func TestGuard(t *testing.T) {
	t.Parallel()
	create := access.Action{Verb: access.Create, Resource: access.Packages, Name: "mine"}
	get := access.Action{Verb: access.Get, Resource: access.Packages, Name: "mine"}
	list := access.Action{Verb: access.List, Resource: access.Packages, Name: "mine"}
	remove := access.Action{Verb: access.Delete, Resource: access.Packages, Name: "mine"}
	events := access.Action{Verb: access.Get, Resource: access.Events}
	backends := access.Action{Verb: access.List, Resource: access.Backends}
	on := func(verb, resource string) access.Action {
		return access.Action{Verb: verb, Resource: resource, Name: registrytest.First}
	}
	enough := errors.New("enough")
	for _, m := range []struct {
		name  string
		needs access.Action
		// refused is what someone without the right gets.
		refused error
		call    func(ctx context.Context, h *house, r registry.Registry) error
	}{
		{"OpenUpload", create, access.ErrForbidden, func(ctx context.Context, _ *house, r registry.Registry) error {
			ref := pkg("mine")
			ref.Version = "3"
			_, err := r.OpenUpload(ctx, registry.OpenUpload{PackageRef: ref, RetentionClass: "x"})
			return err
		}},
		{"GetUpload", create, registry.ErrNotFound, func(ctx context.Context, h *house, r registry.Registry) error {
			_, err := r.GetUpload(ctx, h.session)
			return err
		}},
		{"DeclareFiles", create, registry.ErrNotFound, func(ctx context.Context, h *house, r registry.Registry) error {
			_, err := r.DeclareFiles(ctx, h.session, []registry.FileDeclaration{{Path: "a"}})
			return err
		}},
		{"PutFile", create, registry.ErrNotFound, func(ctx context.Context, h *house, r registry.Registry) error {
			_, err := r.PutFile(ctx, h.session, "b", content("b"))
			return err
		}},
		{"PublishFiles", create, access.ErrForbidden, func(ctx context.Context, _ *house, r registry.Registry) error {
			ref := pkg("mine")
			ref.Version = "4"
			left := []registry.NamedContent{{Path: "c", Content: content("c")}}
			_, err := r.PublishFiles(ctx, registry.OpenUpload{PackageRef: ref, RetentionClass: "x"}, registry.SentManifest{}, func() (registry.NamedContent, error) {
				if len(left) == 0 {
					return registry.NamedContent{}, io.EOF
				}
				next := left[0]
				left = nil
				return next, nil
			})
			return err
		}},
		{"PutFiles", create, registry.ErrNotFound, func(ctx context.Context, h *house, r registry.Registry) error {
			left := []registry.NamedContent{{Path: "c", Content: content("c")}}
			_, err := r.PutFiles(ctx, h.session, func() (registry.NamedContent, error) {
				if len(left) == 0 {
					return registry.NamedContent{}, io.EOF
				}
				next := left[0]
				left = left[1:]
				return next, nil
			})
			return err
		}},
		{"AppendFile", create, registry.ErrNotFound, func(ctx context.Context, h *house, r registry.Registry) error {
			_, err := r.AppendFile(ctx, h.session, "d", registry.Piece{Content: registry.Content{Reader: strings.NewReader("d"), Size: 1}, Length: 2})
			return err
		}},
		{"FileProgress", create, registry.ErrNotFound, func(ctx context.Context, h *house, r registry.Registry) error {
			if _, err := h.fixture.Registry.DeclareFiles(ctx, h.session, []registry.FileDeclaration{{Path: "e"}}); err != nil {
				return err
			}
			_, err := r.FileProgress(ctx, h.session, "e")
			return err
		}},
		{"Publish", create, registry.ErrNotFound, func(ctx context.Context, h *house, r registry.Registry) error {
			if _, err := h.fixture.Registry.PutFile(ctx, h.session, "f", content("f")); err != nil {
				return err
			}
			_, err := r.Publish(ctx, h.session, nil)
			return err
		}},
		{"GetPackage", get, access.ErrForbidden, func(ctx context.Context, _ *house, r registry.Registry) error {
			_, err := r.GetPackage(ctx, pkg("mine"))
			return err
		}},
		{"SetTag", create, access.ErrForbidden, func(ctx context.Context, _ *house, r registry.Registry) error {
			_, err := r.SetTag(ctx, tagOf("mine"), registry.TagSetting{Version: pkg("mine").Version})
			return err
		}},
		{"RemoveTag", remove, access.ErrForbidden, func(ctx context.Context, h *house, r registry.Registry) error {
			if _, err := h.fixture.Registry.SetTag(ctx, tagOf("mine"), registry.TagSetting{Version: pkg("mine").Version}); err != nil {
				return err
			}
			return r.RemoveTag(ctx, tagOf("mine"))
		}},
		{"GetTag", get, access.ErrForbidden, func(ctx context.Context, h *house, r registry.Registry) error {
			if _, err := h.fixture.Registry.SetTag(ctx, tagOf("mine"), registry.TagSetting{Version: pkg("mine").Version}); err != nil {
				return err
			}
			_, err := r.GetTag(ctx, tagOf("mine"), 0)
			return err
		}},
		{"ListTags", list, access.ErrForbidden, func(ctx context.Context, _ *house, r registry.Registry) error {
			_, err := r.ListTags(ctx, registry.TagQuery{Producer: "mine", Name: pkg("mine").Name})
			return err
		}},
		{"ListTagHistory", get, access.ErrForbidden, func(ctx context.Context, _ *house, r registry.Registry) error {
			_, err := r.ListTagHistory(ctx, tagOf("mine"), registry.HistoryQuery{})
			return err
		}},
		{"ListFiles", get, access.ErrForbidden, func(ctx context.Context, _ *house, r registry.Registry) error {
			_, err := r.ListFiles(ctx, pkg("mine"), registry.FileQuery{})
			return err
		}},
		{"FindUses", get, registry.ErrNotFound, func(ctx context.Context, h *house, r registry.Registry) error {
			_, err := r.FindUses(ctx, h.onlyMine.SHA256, registry.UseQuery{})
			return err
		}},
		{"FindUses of a producer", get, access.ErrForbidden, func(ctx context.Context, h *house, r registry.Registry) error {
			_, err := r.FindUses(ctx, h.onlyMine.SHA256, registry.UseQuery{Producer: "mine"})
			return err
		}},
		{"ListPackages", list, access.ErrForbidden, func(ctx context.Context, _ *house, r registry.Registry) error {
			_, err := r.ListPackages(ctx, registry.PackageFilter{Producer: "mine"})
			return err
		}},
		{"ListDamaged", list, access.ErrForbidden, func(ctx context.Context, _ *house, r registry.Registry) error {
			_, err := r.ListDamaged(ctx, registry.DamageFilter{Producer: "mine"})
			return err
		}},
		{"ListDamaged of a package", get, access.ErrForbidden, func(ctx context.Context, _ *house, r registry.Registry) error {
			_, err := r.ListDamaged(ctx, registry.DamageFilter{Producer: "mine", Name: pkg("mine").Name, Version: pkg("mine").Version})
			return err
		}},
		{"FindFile", get, access.ErrForbidden, func(ctx context.Context, _ *house, r registry.Registry) error {
			_, err := r.FindFile(ctx, pkg("mine"), "f0")
			return err
		}},
		{"OpenFile", get, access.ErrForbidden, func(ctx context.Context, _ *house, r registry.Registry) error {
			return read(r.OpenFile(ctx, pkg("mine"), "f0", nil))
		}},
		{"GetManifest", get, registry.ErrNotFound, func(ctx context.Context, h *house, r registry.Registry) error {
			_, err := r.GetManifest(ctx, h.mine.ManifestDigest)
			return err
		}},
		{"HeadManifest", get, registry.ErrNotFound, func(ctx context.Context, h *house, r registry.Registry) error {
			_, err := r.HeadManifest(ctx, h.mine.ManifestDigest)
			return err
		}},
		{"OpenManifest", get, registry.ErrNotFound, func(ctx context.Context, h *house, r registry.Registry) error {
			return read(r.OpenManifest(ctx, h.mine.ManifestDigest, nil))
		}},
		{"HeadBlob", get, registry.ErrNotFound, func(ctx context.Context, h *house, r registry.Registry) error {
			_, err := r.HeadBlob(ctx, h.onlyMine.SHA256)
			return err
		}},
		{"HeadBlob of a manifest", get, registry.ErrNotFound, func(ctx context.Context, h *house, r registry.Registry) error {
			_, err := r.HeadBlob(ctx, h.mine.ManifestDigest)
			return err
		}},
		{"OpenBlob", get, registry.ErrNotFound, func(ctx context.Context, h *house, r registry.Registry) error {
			return read(r.OpenBlob(ctx, h.onlyMine.SHA256, nil))
		}},
		{"OpenBlob by BLAKE3", get, registry.ErrNotFound, func(ctx context.Context, h *house, r registry.Registry) error {
			return read(r.OpenBlob(ctx, h.onlyMine.BLAKE3, nil))
		}},
		{"OpenBlob with a hint", get, registry.ErrNotFound, func(ctx context.Context, h *house, r registry.Registry) error {
			return read(r.OpenBlob(registry.WithHolder(ctx, "mine"), h.common.SHA256, nil))
		}},
		{"OpenBlob with a hint that is wrong", get, registry.ErrNotFound, func(ctx context.Context, h *house, r registry.Registry) error {
			return read(r.OpenBlob(registry.WithHolder(ctx, "theirs"), h.onlyMine.SHA256, nil))
		}},
		{"ReadEvents", events, access.ErrForbidden, func(ctx context.Context, _ *house, r registry.Registry) error {
			_, err := r.ReadEvents(ctx, registry.EventQuery{Limit: 1})
			return err
		}},
		{"FollowEvents", events, access.ErrForbidden, func(ctx context.Context, _ *house, r registry.Registry) error {
			err := r.FollowEvents(ctx, registry.EventQuery{}, func(registry.Event) error { return enough })
			if errors.Is(err, enough) {
				return nil
			}
			return err
		}},
		{"LogHead", events, access.ErrForbidden, func(ctx context.Context, _ *house, r registry.Registry) error {
			_, err := r.LogHead(ctx)
			return err
		}},
		{"ListBackends", backends, access.ErrForbidden, func(ctx context.Context, _ *house, r registry.Registry) error {
			_, err := r.ListBackends(ctx)
			return err
		}},
		{"Health", backends, access.ErrForbidden, func(ctx context.Context, _ *house, r registry.Registry) error {
			_, err := r.Health(ctx)
			return err
		}},
		{"GetBackend", on(access.Get, access.Backends), access.ErrForbidden, func(ctx context.Context, _ *house, r registry.Registry) error {
			_, err := r.GetBackend(ctx, registrytest.First)
			return err
		}},
		{"GetBackend by id", on(access.Get, access.Backends), access.ErrForbidden, func(ctx context.Context, h *house, r registry.Registry) error {
			_, err := r.GetBackend(ctx, h.mine.BackendID)
			return err
		}},
		{"Explain", create, access.ErrForbidden, func(ctx context.Context, _ *house, r registry.Registry) error {
			_, err := r.Explain(ctx, placement.Request{Producer: "mine", RetentionClass: "x"})
			return err
		}},
		{"Explain, for who sees backends", backends, access.ErrForbidden, func(ctx context.Context, _ *house, r registry.Registry) error {
			_, err := r.Explain(ctx, placement.Request{Producer: "mine", RetentionClass: "x"})
			return err
		}},
		{"VerifyBackend", on(access.Create, access.Verifications), access.ErrForbidden, func(ctx context.Context, h *house, r registry.Registry) error {
			_, err := r.VerifyBackend(ctx, h.mine.BackendID, registry.VerifyOptions{}, nil)
			return err
		}},
		{"ListLocations", on(access.Create, access.Verifications), access.ErrForbidden, func(ctx context.Context, h *house, r registry.Registry) error {
			_, err := r.ListLocations(ctx, h.mine.BackendID, registry.LocationQuery{})
			return err
		}},
		{"RecordFindings", on(access.Create, access.Verifications), access.ErrForbidden, func(ctx context.Context, _ *house, r registry.Registry) error {
			_, err := r.RecordFindings(ctx, registrytest.First, registry.VerifyFindings{})
			if errors.Is(err, registry.ErrInvalid) { // it was let through to where nothing is no finding
				return nil
			}
			return err
		}},
		{"SweepBackend", on(access.Create, access.Sweeps), access.ErrForbidden, func(ctx context.Context, _ *house, r registry.Registry) error {
			_, err := r.SweepBackend(ctx, registrytest.First, true, nil)
			return err
		}},
		{"ProbeBackend", on(access.Create, access.Probes), access.ErrForbidden, func(ctx context.Context, _ *house, r registry.Registry) error {
			_, err := r.ProbeBackend(ctx, registrytest.First)
			if errors.Is(err, registry.ErrUnavailable) { // it was let through to backends that nobody can probe
				return nil
			}
			return err
		}},
	} {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			if err := m.call(context.Background(), h, h.guard); err == nil || errors.Is(err, access.ErrForbidden) {
				t.Errorf("with no identity: %v", err)
			}
			if err := m.call(h.ctx, h, h.guard); !errors.Is(err, m.refused) {
				t.Errorf("with no right: %v, want %v", err, m.refused)
			}
			h.rights.set(false, slices.DeleteFunc([]access.Action{create, get, list, remove, events, on(access.Get, access.Backends),
				on(access.Create, access.Verifications), on(access.Create, access.Sweeps), on(access.Create, access.Probes)},
				func(a access.Action) bool {
					return a == m.needs || m.needs == backends && a == create // which Explain takes as well
				})...)
			if err := m.call(h.ctx, h, h.guard); !errors.Is(err, m.refused) {
				t.Errorf("with every right but this: %v, want %v", err, m.refused)
			}
			h.rights.set(true)
			if err := m.call(h.ctx, h, h.guard); !errors.Is(err, access.ErrUnavailable) {
				t.Errorf("while nobody can say: %v", err)
			}
			for _, away := range []bool{true, false} {
				h.rights.set(away, m.needs)
				h.session = h.open(t)
				if err := m.call(h.ctx, h, h.guard); err != nil {
					t.Errorf("with this right alone (others unknown: %v): %v", away, err)
				}
			}
		})
	}
}

func read(body io.ReadCloser, _ registry.BlobInfo, err error) error {
	if err != nil {
		return err
	}
	defer body.Close() //nolint:errcheck // it is only read
	_, err = io.ReadAll(body)
	return err
}
