package client_test

import (
	"context"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coulomb/artifact-store/pkg/client"
	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/httpapi/server"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/registry/service"
	"github.com/coulomb/artifact-store/pkg/routing"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/pkg/storage/local"
)

// A package is published, and a file of it read back. The server behind it
// keeps its log in SQLite and the bytes in a folder.
func Example() {
	address, stop := startStore()
	defer stop()
	if err := publishAndRead(context.Background(), address); err != nil {
		fmt.Println(err)
	}
	// Output:
	// published ci/greeting@1.0 with 2 files
	// echo hello
}

func publishAndRead(ctx context.Context, address string) error {
	store, err := client.New(address, client.Options{
		Token: func() (client.Secret, error) { return client.NewSecret(os.Getenv("STORE_TOKEN")), nil },
	})
	if err != nil {
		return err
	}
	defer store.Close()

	// A session has no effect until it is published.
	ref := client.PackageRef{Producer: "ci", Name: "greeting", Version: "1.0"}
	upload, err := store.OpenUpload(ctx, client.OpenUpload{PackageRef: ref, RetentionClass: "release"})
	if err != nil {
		return err
	}

	// Declared with their digests, only files are sent that the store does not have.
	texts := map[string]string{"bin/hello": "echo hello", "README": "It says hello."}
	sealed := manifest.Manifest{Producer: ref.Producer, Name: ref.Name, Version: ref.Version}
	var files []client.FileDeclaration
	for path, text := range texts {
		digests, size, err := client.Copy(io.Discard, strings.NewReader(text))
		if err != nil {
			return err
		}
		files = append(files, client.FileDeclaration{Path: path, Size: &size, Digests: digests})
		sealed.Files = append(sealed.Files, manifest.File{Path: path, Size: size, Digests: digests})
	}
	declared, err := store.DeclareFiles(ctx, upload.ID, files)
	if err != nil {
		return err
	}
	for _, path := range declared.Send {
		text := texts[path]
		if _, err := store.PutFile(ctx, upload.ID, path, client.Content{Reader: strings.NewReader(text), Size: int64(len(text))}); err != nil {
			return err
		}
	}

	// The store refuses a manifest that is not what it has computed itself. Symbolic
	// links, empty folders and modes are only in the manifest.
	encoded, err := manifest.Encode(&sealed)
	if err != nil {
		return err
	}
	published, err := store.Publish(ctx, upload.ID, encoded)
	var conflict *client.ConflictError
	switch {
	case errors.As(err, &conflict):
		return fmt.Errorf("%s has other content already, the manifest %s", ref, conflict.Existing)
	case err != nil:
		return err
	}
	fmt.Println("published", published.PackageRef, "with", published.Files, "files")

	// The reader checks what it reads.
	file, err := store.FindFile(ctx, ref, "bin/hello")
	if err != nil {
		return err
	}
	content, info, err := store.OpenBlob(client.WithProducer(ctx, ref.Producer), file.Digests.SHA256, nil)
	if err != nil {
		return err
	}
	defer content.Close()
	digests, _, err := client.Copy(os.Stdout, content)
	if err == nil && !info.Digests.Matches(digests) {
		err = errors.New("these are not the bytes of bin/hello")
	}
	return err
}

// TestPackageComment: the package comment shows what the example runs.
func TestPackageComment(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "client.go", nil, parser.ParseComments|parser.PackageClauseOnly)
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	shown := 0
	for line := range strings.Lines(file.Doc.Text()) {
		if code, is := strings.CutPrefix(line, "\t"); is {
			shown++
			code = strings.ReplaceAll(code, `"https://store.example.com:9443"`, "address")
			if !strings.Contains(string(example), "\n\t"+code) {
				t.Errorf("the package comment has a line that the example has not: %s", code)
			}
		}
	}
	if shown < 60 {
		t.Errorf("the package comment shows %d lines of code, which is not the whole example", shown)
	}
}

// startStore serves a registry with one backend, in this process.
func startStore() (address string, stop func()) {
	ctx := context.Background()
	folder, err := os.MkdirTemp("", "example")
	try(err)
	db, err := database.Open(ctx, "sqlite://"+filepath.Join(folder, "registry.db"))
	try(err)
	table := routing.New()
	registry, err := service.Open(ctx, service.Options{Database: db, Placer: table, Logger: quiet()})
	try(err)
	place := filepath.Join(folder, "blobs")
	store, err := local.Open(ctx, local.Config{Path: place, Create: true}, buffer.Default())
	try(err)
	id, err := registry.RegisterBackend(ctx, "disk", "local", place, store)
	try(err)
	table.Swap(routing.Snapshot{
		Rules:    []routing.Rule{{Policy: "all", Backends: []string{"disk"}}},
		Backends: []placement.Backend{{ID: id, Name: "disk", Driver: "local", Ready: true, Store: store}},
	})
	serving := httptest.NewServer(server.NewHandler(registry, server.Options{Logger: quiet()}))
	return serving.URL, func() {
		serving.Close()
		try(registry.Close())
		try(store.Close())
		try(db.Close())
		try(os.RemoveAll(folder))
	}
}

func try(err error) {
	if err != nil {
		panic(err)
	}
}
