package server_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/httpapi/server"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// archive makes a tar of headers; a regular file's content is its own name.
func archive(t *testing.T, headers ...tar.Header) string {
	t.Helper()
	var buffer bytes.Buffer
	writer := tar.NewWriter(&buffer)
	for _, header := range headers {
		if header.Typeflag == 0 {
			header.Typeflag, header.Size = tar.TypeReg, int64(len(header.Name))
		}
		if err := writer.WriteHeader(&header); err != nil {
			t.Fatal(err)
		}
		if header.Typeflag == tar.TypeReg {
			io.WriteString(writer, header.Name)
		}
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return buffer.String()
}

// sparse makes a tar of one file, which a few bytes say is 3 GiB of zeros.
func sparse(t *testing.T) string {
	t.Helper()
	var buffer bytes.Buffer
	writer := tar.NewWriter(&buffer)
	const withheld = "XNU.sparse." // the writer writes no sparse files
	header := tar.Header{Typeflag: tar.TypeReg, Name: "holes", Size: 512, PAXRecords: map[string]string{
		withheld + "major": "1", withheld + "minor": "0", withheld + "realsize": "3221225472", withheld + "name": "holes"}}
	if err := writer.WriteHeader(&header); err != nil {
		t.Fatal(err)
	}
	io.WriteString(writer, "0\n"+strings.Repeat("\x00", 510)) // no piece of data
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(buffer.String(), withheld, "GNU.sparse.")
}

// longHeader makes an extended header of 2 MiB, which no reader takes.
func longHeader(t *testing.T) string {
	t.Helper()
	var buffer bytes.Buffer
	if err := tar.NewWriter(&buffer).WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "x", Size: 2 << 20}); err != nil {
		t.Fatal(err)
	}
	block := buffer.Bytes()
	block[0], block[156] = '0', 'x' // name and kind change places: the check sum stays
	return string(block) + strings.Repeat("x", 2<<20)
}

func TestTarArchives(t *testing.T) {
	t.Parallel()
	s := newSite(t, server.Options{})
	head, path, isTar := s.head(), "/v1/uploads/"+s.session+"/bundle", "Content-Type: application/x-tar"
	digests := func(text string) map[string]string { return map[string]string{"ARTIFACTSTORE.repr-digest": text} }
	for _, c := range []struct{ field, body string }{
		{"path", archive(t, tar.Header{Name: "../a"})},
		{"path", archive(t, tar.Header{Name: "./../a"})},
		{"path", archive(t, tar.Header{Name: "/a"})},
		{"path", archive(t, tar.Header{Name: "a//b"})},
		{"path", archive(t, tar.Header{Name: "link", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"})},
		{"path", archive(t, tar.Header{Name: "link", Typeflag: tar.TypeLink, Linkname: "a"})},
		{"path", archive(t, tar.Header{Name: "pipe", Typeflag: tar.TypeFifo})},
		{"Repr-Digest", archive(t, tar.Header{Name: "a", PAXRecords: digests("sha-256=:AA:")})},
		{"Repr-Digest", archive(t, tar.Header{Name: "a", PAXRecords: digests(field("sha-256", "b"))})},
		{"Repr-Digest", archive(t, tar.Header{Name: "a", PAXRecords: digests(field("blake3", "b"))})},
		{"body", strings.Repeat("no archive ", 100)},
		{"body", ""},
		{"body", archive(t, tar.Header{Name: "a"})[:300]},                                  // in a header
		{"body", archive(t, tar.Header{Name: strings.Repeat("a", 100)})[:550]},             // in a file
		{"body", archive(t, tar.Header{Name: "cut/a"}, tar.Header{Name: "b"})[:512+100]},   // in what fills a record
		{"body", archive(t, tar.Header{Name: "cut/b"}, tar.Header{Name: "b"})[:2*512+100]}, // in the second header
		{"body", archive(t, tar.Header{Name: "cut/c"})[:2*512]},                            // before its end
		{"body", longHeader(t)},
		{"body", archive(t, tar.Header{Name: "pax_global_header", Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"path": "b"}}, tar.Header{Name: "a"})},
		{"body", archive(t, tar.Header{Name: "pax_global_header", Typeflag: tar.TypeXGlobalHeader, PAXRecords: digests(field("blake3", "b"))}, tar.Header{Name: "a"})},
		{"path", sparse(t)},
	} {
		s.refused(400, c.field, "POST", path, c.body, isTar)
	}
	s.refused(415, "Content-Type", "POST", path, archive(t, tar.Header{Name: "a"}))
	s.refused(415, "Content-Encoding", "POST", path, archive(t, tar.Header{Name: "a"}), isTar, "Content-Encoding: gzip")
	if s.head() != head {
		t.Error("the log has grown")
	}
	for kind, said := range map[byte]string{tar.TypeLink: "--hard-dereference", tar.TypeSymlink: "--dereference", tar.TypeFifo: "a pipe"} {
		if _, text := s.do("POST", path, archive(t, tar.Header{Name: "l", Typeflag: kind, Linkname: "a"}), isTar); !strings.Contains(text, said) {
			t.Errorf("%q: got %s, want %q", kind, text, said)
		}
	}
	whole := archive(t, tar.Header{Name: "d/", Typeflag: tar.TypeDir}, tar.Header{Name: "d/run", Mode: 0o744, PAXRecords: digests(field("blake3", "d/run"))}, tar.Header{Name: "./" + strings.Repeat("long/", 60) + "ä"})
	response, text := s.do("POST", path, whole+strings.Repeat("\x00", 1<<20), isTar) // filled up to a record
	var got registry.Bundled
	if err := json.Unmarshal([]byte(text), &got); err != nil || response.StatusCode != 200 || got.Files != 2 {
		t.Fatalf("got %s %s", response.Status, text)
	}
	response, p := s.raw(fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-tar\r\nContent-Length: %d\r\n\r\n%s", path, len(whole), whole[:len(whole)-700]), true)
	if response.StatusCode != 400 || len(p.Errors) != 1 || p.Errors[0].Location != "body" {
		t.Errorf("cut off: got %s %+v, want a 400 problem on body", response.Status, p)
	}
}

// TestGitArchive: what git archive writes is a bundle: a global header with the
// commit, folders, and files.
func TestGitArchive(t *testing.T) {
	t.Parallel()
	s := newSite(t, server.Options{})
	folder := t.TempDir()
	git := func(args ...string) []byte {
		t.Helper()
		command := exec.Command("git", args...)
		command.Dir = folder
		command.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b")
		output, err := command.Output()
		if err != nil {
			t.Fatalf("git %q: %v", args, err)
		}
		return output
	}
	git("init", "-q")
	for path, mode := range map[string]os.FileMode{"bin/run": 0o755, "README": 0o644} {
		if err := os.MkdirAll(filepath.Join(folder, filepath.Dir(path)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, path), []byte(path), mode); err != nil {
			t.Fatal(err)
		}
	}
	git("add", ".")
	git("commit", "-q", "-m", "all")
	archived := git("archive", "--format=tar", "HEAD")
	if header, err := tar.NewReader(bytes.NewReader(archived)).Next(); err != nil || header.Typeflag != tar.TypeXGlobalHeader {
		t.Fatalf("git archive begins with %+v, %v", header, err)
	}
	response, text := s.do("POST", "/v1/uploads/"+s.session+"/bundle", string(archived), "Content-Type: application/x-tar")
	var got registry.Bundled
	if err := json.Unmarshal([]byte(text), &got); err != nil || response.StatusCode != 200 || got.Files != 2 || got.Bytes != 13 {
		t.Fatalf("got %s %s, want 2 files of 13 bytes", response.Status, text)
	}
}

// TestLabelledArchive: the name that GNU tar gives an archive is no file.
func TestLabelledArchive(t *testing.T) {
	t.Parallel()
	s := newSite(t, server.Options{})
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "a"), []byte("a"), 0o644); err != nil {
		t.Fatal(err)
	}
	archived, err := exec.Command("tar", "--label=of today", "-C", folder, "-cf", "-", "a").Output()
	if err != nil {
		t.Fatal(err)
	}
	response, text := s.do("POST", "/v1/uploads/"+s.session+"/bundle", string(archived), "Content-Type: application/x-tar")
	var got registry.Bundled
	if err := json.Unmarshal([]byte(text), &got); err != nil || response.StatusCode != 200 || got.Files != 1 {
		t.Fatalf("got %s %s, want 1 file", response.Status, text)
	}
}

// TestRefusalArrives: a server that refuses in the middle of a large body must
// not lose its answer to a connection that is reset under it.
func TestRefusalArrives(t *testing.T) {
	t.Parallel()
	s := newSite(t, server.Options{})
	client := newClient(t, s.address)
	ctx := context.Background()
	large := strings.Repeat("x", 32<<20)
	wrong := registry.NamedContent{Path: "a", Content: registry.Content{Reader: strings.NewReader("a"), Size: 1, Digests: digest.Of([]byte("b"))}}
	for range 20 {
		files := []registry.NamedContent{wrong, {Path: "b", Content: registry.Content{Reader: strings.NewReader(large), Size: int64(len(large))}}}
		wrong.Reader = strings.NewReader("a")
		_, err := client.PutFiles(ctx, s.session, func() (registry.NamedContent, error) {
			if len(files) == 0 {
				return registry.NamedContent{}, io.EOF
			}
			file := files[0]
			files = files[1:]
			return file, nil
		})
		if !errors.Is(err, storage.ErrMismatch) {
			t.Fatalf("got %v, want the mismatch", err)
		}
		_, err = client.PutFile(ctx, s.session, "../x", registry.Content{Reader: strings.NewReader(large), Size: int64(len(large))})
		if !errors.Is(err, registry.ErrInvalid) {
			t.Fatalf("got %v, want the path refused", err)
		}
	}
	// A client that asks nobody and sends all before it reads.
	connection, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintf(connection, "PUT %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", s.file("../x"), 8<<20)
	if _, err := io.WriteString(connection, large[:8<<20]); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(connection)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") {
		t.Errorf("got %.80q, %v", answer, err)
	}
}
