module github.com/libgptq/libgptq/samples/go

go 1.19

require github.com/libgptq/libgptq/bindings/go v0.0.0

replace github.com/libgptq/libgptq/bindings/go => ../../bindings/go
