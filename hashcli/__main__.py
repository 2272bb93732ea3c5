from hashcli.cli import main

main()
