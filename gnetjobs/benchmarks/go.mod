module github.com/jobloop/jobloop/gnetjobs/benchmarks

go 1.25.0

require (
	github.com/alecthomas/kong v1.17.0
	github.com/jobloop/jobloop v0.0.0
	github.com/jobloop/jobloop/gnetjobs v0.0.0
	github.com/panjf2000/gnet/v2 v2.9.8
	golang.org/x/sys v0.47.0
)

require (
	github.com/HdrHistogram/hdrhistogram-go v1.4.0 // indirect
	github.com/klauspost/compress v1.20.0 // indirect
	github.com/molecule-man/go-brrr v1.0.1 // indirect
	github.com/panjf2000/ants/v2 v2.12.1 // indirect
	github.com/valyala/bytebufferpool v1.0.0 // indirect
	github.com/valyala/fasthttp v1.74.0 // indirect
	go.uber.org/multierr v1.11.0 // indirect
	go.uber.org/zap v1.28.0 // indirect
	golang.org/x/sync v0.11.0 // indirect
	gopkg.in/natefinch/lumberjack.v2 v2.2.1 // indirect
)

replace (
	github.com/jobloop/jobloop => ../..
	github.com/jobloop/jobloop/gnetjobs => ..
)
