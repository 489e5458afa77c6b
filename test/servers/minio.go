package servers

import (
	"crypto/rand"
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

var compressing shared[*s3Process]

// MinIOCompressing returns a fresh bucket on a MinIO of its own over http that
// compresses whatever it stores: gigabytes of data that compress well fit a
// small disk. The price is its CPU.
func MinIOCompressing(tb testing.TB) S3Server {
	tb.Helper()
	return compressing.get(tb, func() (*s3Process, error) {
		return try5("MinIO", func() (*s3Process, error) {
			return startMinIO(false, "MINIO_COMPRESSION_ENABLE=on", "MINIO_COMPRESSION_MIME_TYPES=*")
		})
	}).bucket(tb)
}

// MinIOServer is a MinIO for one test.
type MinIOServer struct{ process *s3Process }

// OwnMinIO starts a MinIO that ends with this process and that only the caller
// knows, for what must be sure that nobody else uses it.
func OwnMinIO(tb testing.TB, secure bool) *MinIOServer {
	tb.Helper()
	process, err := startS3(MinIO, secure)
	if err != nil {
		tb.Fatal(err)
	}
	return &MinIOServer{process}
}

// Bucket returns a fresh bucket.
func (m *MinIOServer) Bucket(tb testing.TB) S3Server {
	tb.Helper()
	return m.process.bucket(tb)
}

// Uploads returns a path for each multipart upload that was begun and neither
// completed nor aborted, in any bucket. MinIO's API lists those of a key that
// one knows only, so this looks at its folder.
func (m *MinIOServer) Uploads(tb testing.TB) []string {
	tb.Helper()
	found, err := filepath.Glob(filepath.Join(filepath.Dir(m.process.log), "objects", ".minio.sys", "multipart", "*", "*"))
	if err != nil {
		tb.Fatal(err)
	}
	return found
}

// startMinIO keeps objects in a temporary folder; it knows a key for SSE-S3.
func startMinIO(secure bool, settings ...string) (*s3Process, error) {
	bin, err := toolFolder("minio", "minio")
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "artifactstore-minio-")
	if err != nil {
		return nil, err
	}
	certificates := filepath.Join(folder, "certificates") // stays empty over http
	var authority []byte
	if secure {
		if authority, err = writeCertificate(certificates, "public.crt", "private.key"); err != nil {
			return nil, err
		}
	}
	process := &s3Process{log: filepath.Join(folder, "log")}
	var address string
	if process.S3Server, address, err = newS3(MinIO, authority); err != nil {
		return nil, err
	}
	key := make([]byte, 32)
	rand.Read(key) //nolint:errcheck // never fails
	server := exec.Command(filepath.Join(bin, "minio"), "server", "--quiet", "--address", address, "--certs-dir", certificates, filepath.Join(folder, "objects"))
	server.Dir = folder
	server.Env = append([]string{
		"MINIO_ROOT_USER=" + process.AccessKey, "MINIO_ROOT_PASSWORD=" + process.SecretKey, "MINIO_REGION=" + process.Region,
		"MINIO_UPDATE=off", "MINIO_BROWSER=off", "MINIO_KMS_SECRET_KEY=tests:" + base64.StdEncoding.EncodeToString(key),
		"HOME=" + folder, "TMPDIR=" + folder, "PATH=/usr/bin:/bin",
	}, settings...)
	exited, err := serve(server, syscall.SIGKILL, folder)
	if err != nil {
		return nil, err
	}
	return process, process.answers(exited)
}
