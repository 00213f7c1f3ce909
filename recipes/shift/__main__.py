from shift.study import main

main()
