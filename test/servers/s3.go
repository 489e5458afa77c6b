package servers

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// S3Kind is a program that speaks S3.
type S3Kind string

// The kinds. They differ in what they check and how they answer.
const (
	VersityGW S3Kind = "versitygw" // quick to start; stores truncated objects if it is let
	MinIO     S3Kind = "minio"     // checks every checksum; a static key for SSE-S3
	RGW       S3Kind = "rgw"       // Ceph's gateway with a mon and an osd in memory; ignores x-amz-checksum
)

// S3Kinds are all of them, the quickest first.
var S3Kinds = []S3Kind{VersityGW, MinIO, RGW}

// S3Server is how to reach a bucket, path style.
type S3Server struct {
	Kind      S3Kind
	Endpoint  string // http://127.0.0.1:port, or https://…
	CA        []byte // PEM of the private CA that signed its certificate; nil over http
	Region    string
	Bucket    string // empty, and nobody else's
	AccessKey string
	SecretKey string
	Token     string // of a session; "" with lasting keys, as all here are
}

// s3Process is a server that runs, or one of its two endpoints.
type s3Process struct {
	S3Server
	log    string // a file
	client *s3.Client
}

// buckets counts those of all servers: a name is never used twice.
var buckets atomic.Int64

// S3 returns a fresh bucket on a versitygw over http; see S3On.
func S3(tb testing.TB) S3Server {
	tb.Helper()
	return S3On(tb, VersityGW, false)
}

type s3Choice struct {
	kind   S3Kind
	secure bool
}

var s3Shared = struct {
	sync.Mutex
	processes map[s3Choice]*shared[*s3Process]
}{processes: map[s3Choice]*shared[*s3Process]{}}

// S3On returns a fresh bucket on a server of that kind, over https if secure:
// then only who trusts CA can talk to it. The server is the same for all tests
// of the process, and keeps what is in the bucket until the process ends.
func S3On(tb testing.TB, kind S3Kind, secure bool) S3Server {
	tb.Helper()
	return sharedProcess(tb, kind, secure).bucket(tb)
}

func sharedProcess(tb testing.TB, kind S3Kind, secure bool) *s3Process {
	tb.Helper()
	choice := s3Choice{kind, secure}
	s3Shared.Lock()
	process, found := s3Shared.processes[choice]
	if !found {
		process = &shared[*s3Process]{}
		s3Shared.processes[choice] = process
	}
	s3Shared.Unlock()
	return process.get(tb, func() (*s3Process, error) { return startS3(kind, secure) })
}

// startS3 tries several ports: another process may take one between its choice and its use.
func startS3(kind S3Kind, secure bool) (*s3Process, error) {
	switch kind {
	case VersityGW:
		return try5("versitygw", func() (*s3Process, error) { return startVersityGW(secure, false) })
	case MinIO:
		return try5("MinIO", func() (*s3Process, error) { return startMinIO(secure) })
	case RGW:
		cluster, err := sharedCluster()
		if err != nil {
			return nil, err
		}
		return cluster.endpoint(secure), nil
	}
	return nil, fmt.Errorf("no S3 server is called %q", kind)
}

func try5[T any](what string, start func() (T, error)) (started T, err error) {
	var tried error
	for range 5 {
		if started, err = start(); err == nil {
			return started, nil
		}
		tried = errors.Join(tried, err)
	}
	return started, fmt.Errorf("starting %s: %w", what, tried)
}

// bucket makes one.
func (p *s3Process) bucket(tb testing.TB) S3Server {
	tb.Helper()
	return p.bucketAs(tb, &s3.CreateBucketInput{})
}

func (p *s3Process) bucketAs(tb testing.TB, input *s3.CreateBucketInput) S3Server {
	tb.Helper()
	server := p.S3Server
	server.Bucket = fmt.Sprintf("test-%d", buckets.Add(1))
	input.Bucket = &server.Bucket
	if _, err := p.client.CreateBucket(context.Background(), input); err != nil {
		tb.Fatalf("creating a bucket on %s: %v\n%s", p.Kind, err, tailOf(p.log))
	}
	return server
}

// newS3 is a server to be: its address is free, and its keys are new.
func newS3(kind S3Kind, authority []byte) (server S3Server, address string, err error) {
	if address, err = freeAddress(); err != nil {
		return S3Server{}, "", err
	}
	scheme := "http://"
	if authority != nil {
		scheme = "https://"
	}
	return S3Server{
		Kind: kind, Endpoint: scheme + address, CA: authority, Region: "us-east-1",
		AccessKey: "AK" + rand.Text(), SecretKey: rand.Text(),
	}, address, nil
}

// answers waits until a server does, to who has its key: nobody else that
// listens there in its place does.
func (p *s3Process) answers(exited <-chan struct{}) error {
	p.client = p.Client()
	// Until it listens, its port may be that of another process's server: no connection
	// to that one may stay open.
	once := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.DisableKeepAlives, t.TLSClientConfig = true, p.trust()
	})
	err := waitUntil(exited, 60*time.Second, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		_, err := p.client.ListBuckets(ctx, &s3.ListBucketsInput{MaxBuckets: aws.Int32(1)}, func(o *s3.Options) { o.RetryMaxAttempts, o.HTTPClient = 1, once })
		return err
	})
	if err != nil {
		return fmt.Errorf("%w\n%s", err, tailOf(p.log))
	}
	return nil
}

func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

// Client returns an SDK client for the server, with the SDK's defaults except
// that RGW, and a server of which nothing is known, get checksums only where
// they are required: RGW refuses the others over https.
func (s S3Server) Client() *s3.Client {
	options := s3.Options{
		BaseEndpoint: &s.Endpoint, Region: s.Region, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, s.Token),
	}
	if s.Kind != VersityGW && s.Kind != MinIO {
		options.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
	}
	options.HTTPClient = s.transport()
	return s3.New(options)
}

// transports holds one for each endpoint: each has connections of its own that stay open for a while.
var transports sync.Map

func (s S3Server) transport() s3.HTTPClient {
	key := s.Endpoint + "\n" + string(s.CA)
	if known, found := transports.Load(key); found {
		return known.(s3.HTTPClient)
	}
	made := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { t.TLSClientConfig = s.trust() })
	known, _ := transports.LoadOrStore(key, made)
	return known.(s3.HTTPClient)
}

// trust is in CA only, where there is one.
func (s S3Server) trust() *tls.Config {
	trust := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.CA != nil {
		trust.RootCAs = x509.NewCertPool()
		trust.RootCAs.AppendCertsFromPEM(s.CA)
	}
	return trust
}
