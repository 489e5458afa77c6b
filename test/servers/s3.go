package servers

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sys/unix"
)

// S3Server is how to reach a bucket: path style, plain HTTP.
type S3Server struct {
	Endpoint  string // http://127.0.0.1:port
	Region    string
	Bucket    string // empty, and nobody else's
	AccessKey string
	SecretKey string
}

type s3Process struct {
	S3Server
	folder string
	client *s3.Client
	next   atomic.Int64
}

var s3Shared shared[*s3Process]

// S3 returns a fresh bucket on a versitygw that keeps objects in a temporary
// folder. The bucket stays until the process ends.
func S3(tb testing.TB) S3Server {
	tb.Helper()
	process := s3Shared.get(tb, startS3)
	server := process.S3Server
	server.Bucket = fmt.Sprintf("test-%d", process.next.Add(1))
	if _, err := process.client.CreateBucket(context.Background(), &s3.CreateBucketInput{Bucket: &server.Bucket}); err != nil {
		tb.Fatalf("creating a bucket: %v\n%s", err, tail(process.folder))
	}
	return server
}

// startS3 tries several ports: another process may take one between its choice and its use.
func startS3() (*s3Process, error) {
	bin, err := toolFolder("versitygw", "versitygw")
	if err != nil {
		return nil, err
	}
	var tried error
	for range 5 {
		process, err := startS3Once(filepath.Join(bin, "versitygw"))
		if err == nil {
			return process, nil
		}
		tried = errors.Join(tried, err)
	}
	return nil, fmt.Errorf("starting versitygw: %w", tried)
}

func startS3Once(program string) (*s3Process, error) {
	folder, err := os.MkdirTemp("", "artifactstore-s3-")
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"objects", "sidecar"} {
		if err := os.Mkdir(filepath.Join(folder, name), 0o755); err != nil {
			return nil, err
		}
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	process := &s3Process{folder: folder, S3Server: S3Server{
		Endpoint: "http://" + address, Region: "us-east-1",
		AccessKey: "AK" + rand.Text(), SecretKey: rand.Text(),
	}}
	arguments := []string{"--port", address, "--region", process.Region, "--health", "/health", "--keep-alive", "--quiet", "posix"}
	if !hasXattrs(folder) {
		arguments = append(arguments, "--sidecar", filepath.Join(folder, "sidecar"))
	}
	server := exec.Command(program, append(arguments, filepath.Join(folder, "objects"))...)
	server.Dir = folder
	// Not as arguments, where every user of the machine could read them, and nothing else of this environment.
	server.Env = []string{
		"ROOT_ACCESS_KEY_ID=" + process.AccessKey, "ROOT_SECRET_ACCESS_KEY=" + process.SecretKey,
		"HOME=" + folder, "TMPDIR=" + folder, "PATH=/usr/bin:/bin",
	}
	exited, err := serve(server, syscall.SIGKILL, folder) // it keeps nothing that is worth a graceful end
	if err != nil {
		return nil, err
	}
	process.client = s3.New(s3.Options{
		BaseEndpoint: &process.Endpoint, Region: process.Region, UsePathStyle: true,
		Credentials:      credentials.NewStaticCredentialsProvider(process.AccessKey, process.SecretKey, ""),
		RetryMaxAttempts: 1,
	})
	err = waitUntil(exited, 30*time.Second, func(ctx context.Context) error {
		// Signed: whoever else listens there does not know the key.
		_, err := process.client.ListBuckets(ctx, &s3.ListBucketsInput{MaxBuckets: aws.Int32(1)})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, strings.TrimSpace(tail(folder)))
	}
	return process, nil
}

func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

func hasXattrs(folder string) bool {
	return unix.Setxattr(folder, "user.artifactstore", []byte("1"), 0) == nil
}

// Client returns an SDK client for the server, with the SDK's defaults otherwise.
func (s S3Server) Client() *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: &s.Endpoint, Region: s.Region, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, ""),
	})
}
