// Package tokenfile implements access by static tokens. A YAML or JSON file
// lists their holders and what each may do:
//
//	tokens:
//	- name: ci                # what events are logged under
//	  sha256: 2c26b46b…       # of the token, in hex; or token: the token itself
//	  allow:
//	  - resource: packages
//	    verbs: [create, get, list]
//	    names: [team-a, team-a-*]   # none: all
//
// Unknown fields are refused. Fields may be added, never changed.
package tokenfile

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"

	"github.com/coulomb/artifact-store/pkg/access"
	"github.com/coulomb/artifact-store/pkg/filewatch"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/regular"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// maxFile bounds the file, in bytes: 1,000 tokens with long rules.
const maxFile = 1 << 20

// File is the last valid content of the file. All methods may be called concurrently.
type File struct {
	path   string
	logger *slog.Logger
	files  *filewatch.Files
	now    atomic.Pointer[table]
}

// table is the content of the file.
type table struct {
	byHash map[[sha256.Size]byte]*entry
	byName map[string]*entry
}

// entry is one holder.
type entry struct {
	name  string
	hash  [sha256.Size]byte
	rules []rule
}

var (
	_ access.Authenticator = (*File)(nil)
	_ access.Authorizer    = (*File)(nil)
	_ access.Lister        = (*File)(nil)
)

// Open reads the file. An error names the invalid field.
func Open(path string, logger *slog.Logger) (*File, error) {
	f := &File{path: path, logger: logger}
	files, err := filewatch.Open(func() []string { return []string{path} }, f.take)
	if err != nil {
		return nil, err
	}
	f.files = files
	return f, nil
}

// Run applies edits of the file until ctx ends. An invalid one is logged, and
// the previous tokens stay valid.
func (f *File) Run(ctx context.Context) {
	f.files.Run(ctx, func(err error) {
		f.logger.Error("the edited token file is invalid: the previous tokens stay valid", "error", err)
	})
}

func (f *File) take() error {
	content, err := regular.Read(f.path, maxFile)
	if err != nil {
		return err
	}
	t, err := parse(content)
	if err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	if f.now.Swap(t) != nil {
		f.logger.Info("token file loaded", "file", f.path, "tokens", len(t.byHash))
	}
	return nil
}

// Authenticate implements access.Authenticator. It compares only hashes, so
// that its duration tells nothing about a token.
func (f *File) Authenticate(_ context.Context, token storage.Secret) (access.Identity, error) {
	hash := sha256.Sum256([]byte(token.Reveal()))
	e := f.now.Load().byHash[hash]
	if e == nil || subtle.ConstantTimeCompare(e.hash[:], hash[:]) != 1 {
		return access.Identity{}, access.Unauthenticated("the token is unknown")
	}
	return access.Identity{Name: e.name}, nil
}

// Permissions implements access.Lister: the rules as they are written.
func (f *File) Permissions(who access.Identity) []registry.Permission {
	e := f.now.Load().byName[who.Name]
	if e == nil { // removed since
		return nil
	}
	permissions := make([]registry.Permission, len(e.rules))
	for i, r := range e.rules {
		permissions[i] = registry.Permission{Resource: r.resource, Verbs: slices.Clone(r.verbs)}
		for _, name := range r.names {
			permissions[i].Names = append(permissions[i].Names, string(name))
		}
	}
	return permissions
}

// Authorize implements access.Authorizer.
func (f *File) Authorize(_ context.Context, who access.Identity, what access.Action) error {
	e := f.now.Load().byName[who.Name]
	if e != nil && slices.ContainsFunc(e.rules, func(r rule) bool { return r.allows(what) }) {
		return nil
	}
	grant := fmt.Sprintf("in the token file, allow %s {resource: %s, verbs: [%s]", who.Name, what.Resource, what.Verb)
	if what.Name != "" {
		grant += fmt.Sprintf(", names: [%s]", what.Name)
	}
	return &access.ForbiddenError{Who: who.Name, What: what, Grant: grant + "}"}
}
