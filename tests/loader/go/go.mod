module userkvm.test/client

go 1.19
