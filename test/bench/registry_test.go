package bench

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/coulomb/artifact-store/test/programs"
	"github.com/coulomb/artifact-store/test/servers"
)

const (
	gibibyte = 1 << 30
	mebibyte = 1 << 20
)

// localSpec is the spec of a backend in a folder of the data folder.
const localSpec = "local:\n    path: objects\n"

// localRegistry starts a manager with one local backend and nothing in it.
func localRegistry(b *testing.B) (*programs.Manager, programs.CLI, string) {
	b.Helper()
	data := b.TempDir()
	m := startRegistry(b, data, localSpec, nil)
	return m, programs.CLI{Server: m.URL}, filepath.Join(data, "objects")
}

// s3Registry starts a manager with one s3 backend and nothing in it.
func s3Registry(b *testing.B, server servers.S3Server) (*programs.Manager, programs.CLI) {
	b.Helper()
	spec, env := s3Spec(server)
	m := startRegistry(b, b.TempDir(), spec, env)
	return m, programs.CLI{Server: m.URL}
}

// s3Spec is the spec of a backend in the server's bucket, and the environment that it refers to.
func s3Spec(server servers.S3Server) (spec string, env []string) {
	spec = fmt.Sprintf("s3:\n    endpointURL: %s\n    region: %s\n    bucket: %s\n    accessKeyRef: {env: ACCESS_KEY}\n    secretKeyRef: {env: SECRET_KEY}\n",
		server.Endpoint, server.Region, server.Bucket)
	return spec, []string{"ACCESS_KEY=" + server.AccessKey, "SECRET_KEY=" + server.SecretKey}
}

func startRegistry(b *testing.B, data, spec string, env []string) *programs.Manager {
	b.Helper()
	return startRegistryOf(b, programs.Folder(b), data, spec, env)
}

// startRegistryOf is startRegistry with the manager of a folder that programs.Base returned.
func startRegistryOf(b *testing.B, folder, data, spec string, env []string, arguments ...string) *programs.Manager {
	b.Helper()
	config := b.TempDir()
	text := "apiVersion: artifactstore.dev/v1alpha1\nkind: StorageBackend\nmetadata:\n  name: only\nspec:\n  " + spec
	if err := os.WriteFile(filepath.Join(config, "backend.yaml"), []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	m := programs.StartManagerOf(b, folder, append([]string{"--config-dir", config, "--data-dir", data}, arguments...), env)
	client := m.Client(b)
	programs.Eventually(b, func() error {
		only, err := client.GetBackend(b.Context(), "only")
		if err == nil && !only.Ready {
			err = fmt.Errorf("the backend is not ready: %s", only.Message)
		}
		return err
	})
	return m
}

func push(b *testing.B, cli programs.CLI, what, version string) {
	b.Helper()
	pushWith(b, cli, what, version)
}

// pushWith is push with more flags.
func pushWith(b *testing.B, cli programs.CLI, what, version string, flags ...string) {
	b.Helper()
	args := []string{"push", what, "--producer", "bench", "--name", "package", "--version", version, "--retention-class", "none"}
	cli.Run(b, programs.ExitDone, append(args, flags...)...)
}

// randomFile writes a file that no one can compress or guess.
func randomFile(b *testing.B, size int64) string {
	b.Helper()
	file, err := os.Create(filepath.Join(b.TempDir(), "random.bin"))
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close() //nolint:errcheck // Sync tells
	random := rand.NewChaCha8([32]byte{1})
	block := make([]byte, mebibyte)
	for written := int64(0); written < size; written += mebibyte {
		_, _ = random.Read(block) // never fails
		if _, err := file.Write(block); err != nil {
			b.Fatal(err)
		}
	}
	// On the disk before anything is measured, so that writing it back disturbs nobody.
	if err := file.Sync(); err != nil {
		b.Fatal(err)
	}
	return file.Name()
}

// alter makes other content of a file: neither side may find that it has it already.
func alter(b *testing.B, name string, round int) {
	b.Helper()
	file, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close() //nolint:errcheck // Sync tells
	if _, err := file.WriteAt(fmt.Appendf(nil, "round %d ", round), 0); err != nil {
		b.Fatal(err)
	}
	if err := file.Sync(); err != nil {
		b.Fatal(err)
	}
}

func listenLoopback() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") }
