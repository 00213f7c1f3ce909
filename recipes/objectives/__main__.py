from objectives.study import main

main()
